"""What `segment`, `auto` and `run` share: files in, a progress bar, one line a failure, and the exit status."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
from tqdm import tqdm

from samovar.errors import PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.pipeline import Outcome, run
from samovar.protocols import MaskSink, PromptSource
from samovar.runtime import Runtime
from samovar.worklist import Item, worklist

__all__ = ["describe", "perform"]


@dataclass
class Tally:
    """Counts of what became of the images."""

    written: int = 0
    skipped: int = 0
    masks: int = 0
    failures: list[Exception] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status: 2 when the prompts fitted no image at all, 1 when some images failed, else 0."""
        if not self.failures:
            return 0
        hopeless = not (self.written or self.skipped)
        return 2 if hopeless and all(isinstance(error, PromptError) for error in self.failures) else 1


def perform(
    runtime: Runtime,
    paths: Sequence[str],
    segment: Callable[[Item, Image], Masks],
    sinks: Mapping[str, MaskSink],
    *,
    source: PromptSource | None = None,
    where: str | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Segment every image of `paths` into `sinks` and return the exit status.

    Args:
        source: what `segment` asks for prompts, if anything.
        where: what the summary calls the output.
        resume: skip the images that the sinks already have.
    """
    work, errors = worklist(paths)
    tally = Tally()
    for missing in errors:
        _report(Outcome(str(missing), "failed", error=missing), tally, as_json)
    show = not quiet and sys.stderr.isatty() and len(work) > 1
    seen = [*sinks.values(), *([source] if source is not None else [])]
    always = any(getattr(part, "needs_pixels", True) for part in seen)

    def needs_pixels(image: Image) -> bool:
        return always or not runtime.cache.holds(image, runtime.segmenter)

    outcomes = run(work, segment, sinks, resume=resume, needs_pixels=needs_pixels)
    with tqdm(outcomes, total=len(work), unit="image", disable=not show, dynamic_ncols=True) as bar:
        for outcome in bar:
            _report(outcome, tally, as_json)
            bar.set_postfix(masks=tally.masks, failed=len(tally.failures), refresh=False)
    alone = len(work) + len(errors) == 1
    if not quiet and not (alone and tally.failures):  # the line that names it has said all there is
        click.echo(_summary(tally, where), err=True)
    return tally.status


def describe(masks: Masks) -> list[dict[str, Any]]:
    """Masks as JSON objects: box x1 y1 x2 y2 and area in pixels, score, label, id, prompt, COCO RLE."""
    rows = []
    for i, (rle, box) in enumerate(zip(masks.to_coco_rle(), masks.boxes)):
        row: dict[str, Any] = {
            "box": [round(float(value), 2) for value in box],
            "area": int(masks.areas[i]),
            "score": round(float(masks.scores[i]), 4),
            "prompt": int(masks.prompt_index[i]),
            "label": masks.labels[i],
            "id": masks.ids[i],
            "segmentation": rle,
        }
        rows.append(row)
    return rows


def _report(outcome: Outcome, tally: Tally, as_json: bool) -> None:
    if outcome.error is not None:
        tally.failures.append(outcome.error)
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(f"samovar: {outcome.error}", err=True)
            if outcome.error.__cause__ is not None and click.get_current_context().find_root().params.get("debug"):
                click.echo("".join(traceback.format_exception(outcome.error)), err=True)
    elif outcome.masks is not None:
        tally.written += 1
        tally.masks += len(outcome.masks)
    else:
        tally.skipped += 1
    if as_json:
        line: dict[str, Any] = {"image": outcome.key, "status": outcome.status}
        if outcome.masks is not None:
            line |= {"width": outcome.masks.width, "height": outcome.masks.height, "masks": describe(outcome.masks)}
        if outcome.error is not None:
            line["error"] = str(outcome.error)
        click.echo(json.dumps(line))


def _summary(tally: Tally, where: str | None) -> str:
    def count(number: int, word: str) -> str:
        return f"{number} {word}{'' if number == 1 else 's'}"

    parts = [count(tally.masks, "mask"), f"of {count(tally.written, 'image')}"]
    if where and tally.written + tally.skipped:
        parts.append(f"→ {where}")
    line = " ".join(parts)
    if tally.skipped:
        line += f"; {tally.skipped} already there"
    if tally.failures:
        line += f"; {len(tally.failures)} failed"
    return line
