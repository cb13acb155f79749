"""What `segment`, `auto` and `run` share: files in, a progress bar, one line a failure, and the exit status."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import click
from tqdm import tqdm

from samovar.errors import PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.pipeline import Item, Outcome, run, worklist
from samovar.protocols import ExpectsImages, MaskSink, PixelNeeds, PromptSource, ReportsProblems
from samovar.runtime import Runtime

__all__ = ["load_model", "run_job", "telling"]

PATIENCE = 2.0
"""Seconds that a person waits without a word."""


@dataclass
class JobSummary:
    """Counts of what became of the images."""

    written: int = 0
    skipped: int = 0
    masks: int = 0
    failures: list[Exception] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    @property
    def status(self) -> int:
        """The exit status: 2 when the prompts fitted no image at all, 1 when some images failed, else 0."""
        if not self.failures:
            return 0
        hopeless = not (self.written or self.skipped)
        return 2 if hopeless and all(isinstance(error, PromptError) for error in self.failures) else 1

    def line(self, where: str | None) -> str:
        """What a person is told at the end."""
        parts = [_count(self.masks, "mask"), f"of {_count(self.written, 'image')}"]
        if where and self.written + self.skipped:
            parts.append(f"→ {where}")
        line = " ".join(parts)
        if self.skipped:
            line += f"; {self.skipped} already there"
        if self.failures:
            line += f"; {len(self.failures)} failed"
        return f"{line} ({time.perf_counter() - self.began:.1f} s)"


@contextmanager
def telling(what: str, *, quiet: bool) -> Iterator[None]:
    """Say on standard error what is going on, if it goes on for more than `PATIENCE` seconds."""
    timer = threading.Timer(PATIENCE, click.echo, (f"samovar: {what} …",), {"err": True})
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def load_model(loading: dict[str, Any], *, quiet: bool) -> Runtime:
    """The runtime that the values of `model_options` (and `convert_option`) name. Raises as `samovar.load`."""
    from samovar.loading import load

    with telling(f"loading the model {loading['model']}", quiet=quiet):
        return load(loading.pop("model"), **loading)


def run_job(
    runtime: Runtime,
    paths: Sequence[str],
    segment: Callable[[Item, Image], Masks],
    sinks: Mapping[str, MaskSink],
    where: str | None,
    *,
    source: PromptSource | None = None,
    resume: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Segment every image of `paths` into the open `sinks` and return the exit status.

    Args:
        where: what the summary calls the output.
        source: what `segment` asks for prompts, if anything.
        resume: skip the images that the sinks already have.
    """
    work, errors = worklist(paths)
    summary = JobSummary()
    for missing in errors:
        _report(Outcome(str(missing), "failed", error=missing), summary, as_json)
    show = not quiet and sys.stderr.isatty() and len(work) > 1
    seen = [*sinks.values(), *([source] if source is not None else [])]
    named = 1
    if isinstance(source, ExpectsImages):
        named = source.expect([Image(item.source, name=item.key) for item in work])
    always = any(not isinstance(part, PixelNeeds) or part.needs_pixels for part in seen)

    def needs_pixels(image: Image) -> bool:
        return always or not runtime.cache.holds(image, runtime.segmenter)

    outcomes = run(work, segment, sinks, resume=resume, needs_pixels=needs_pixels)
    alone = len(work) + len(errors) == 1
    waiting = telling(f"working on {work[0].key} with {runtime.name}", quiet=quiet) if alone and work else nullcontext()
    with tqdm(outcomes, total=len(work), unit="image", disable=not show, dynamic_ncols=True) as bar, waiting:
        for outcome in bar:
            _report(outcome, summary, as_json)
            bar.set_postfix(masks=summary.masks, failed=len(summary.failures), refresh=False)
    problems = [problem for part in seen if isinstance(part, ReportsProblems) for problem in part.problems]
    if not quiet:
        for problem in problems:
            click.echo(f"samovar: {problem}", err=True)
    if not quiet and not (alone and summary.failures):  # the line that names it has said all there is
        click.echo(summary.line(where), err=True)
    nothing = not summary.masks and not summary.skipped and isinstance(source, ExpectsImages)
    return summary.status or int(nothing and (not named or bool(problems)))


def _report(outcome: Outcome, summary: JobSummary, as_json: bool) -> None:
    if outcome.error is not None:
        summary.failures.append(outcome.error)
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(f"samovar: {outcome.error}", err=True)
            if outcome.error.__cause__ is not None and click.get_current_context().find_root().params.get("debug"):
                click.echo("".join(traceback.format_exception(outcome.error)), err=True)
    elif outcome.masks is not None:
        summary.written += 1
        summary.masks += len(outcome.masks)
    else:
        summary.skipped += 1
    if as_json:
        from samovar.schema import image_record

        error = None if outcome.error is None else str(outcome.error)
        click.echo(json.dumps(image_record(outcome.key, outcome.status, outcome.masks, error)))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
