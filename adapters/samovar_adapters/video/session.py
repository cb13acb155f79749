"""One run of `samovar track`: everything opened, followed with progress, and closed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from samovar.errors import Cancelled, InputError
from samovar.image import Image, find_images
from samovar.loading import load, open_source
from samovar.masks import Masks
from samovar.prompts import Prompts, PromptsLike
from samovar.schema import masks_to_records
from samovar.tracking import EditableTracker, PrefetchingTracker, ResumableTracker, Tracker
from samovar_adapters.video.checkpoint import Checkpoint
from samovar_adapters.video.following import BackwardMasks, Initialiser, follow, follow_back
from samovar_adapters.video.frames import Frame, FrameReader, open_frames, read_ahead
from samovar_adapters.video.outputs import MotText, Numbering, TrackSink, open_masks
from samovar_adapters.video.overlay import OverlayVideo
from samovar_adapters.video.trackers import asks_every_frame, open_tracker

__all__ = ["identity_of", "run"]


def run(
    video: str,
    prompts: Prompts | None,
    *,
    source: str | None,
    every: int | None,
    at: int | None,
    engine: str,
    out: str | None,
    masks: str | None,
    mot: str | None,
    checkpoint: str | None,
    rate: float | None,
    as_json: bool,
    quiet: bool,
    **loading: Any,
) -> int:
    """Follow what is asked for through `video`; the exit status: 1 if some of it could not be read, else 0."""
    if not (out or masks or mot or as_json):
        raise InputError("nowhere to put the masks; give --out, --masks, --mot or --json")
    asks = asks_every_frame(engine)
    if at and asks:
        raise InputError(f"--at is for what is followed from one frame; engine {engine} asks in every frame")
    if at and (video == "-" or video.startswith("camera:")):
        raise InputError(f"--at also follows backwards, which needs a file or a folder; got {video}; leave --at out")
    _check_apart(video, {"--out": out, "--masks": masks, "--mot": mot, "--checkpoint": checkpoint})
    with ExitStack() as stack:
        reader = stack.enter_context(closing(open_frames(video, rate=_fraction(rate))))
        runtime = load(loading.pop("model"), **loading)
        job = {
            "video": identity_of(video),
            "model": str(runtime.fingerprint),
            "engine": engine,
            "source": source,
            "every": every,
        }
        asked = None if source in (None, "auto") else open_source(str(source))
        tracker = open_tracker(runtime, engine, asked)
        if checkpoint and not isinstance(tracker, ResumableTracker):
            raise InputError(f"engine {engine} keeps no checkpoint; leave --checkpoint out")
        if every and not asks and not isinstance(tracker, EditableTracker):
            raise InputError(f"engine {engine} takes no objects on the way; leave --every out")
        initialiser = () if asks else Initialiser(runtime, prompts, asked, everything=source == "auto")
        progress = Checkpoint(Path(checkpoint), job | {"prompts": _digest(prompts)}) if checkpoint else None
        sinks = _sinks(reader, out, masks, mot)
        earlier = stack.enter_context(closing(BackwardMasks())) if at else None
        if earlier is not None:
            back = stack.enter_context(closing(open_frames(video, rate=_fraction(rate))))
            _follow_back(back, at or 0, tracker, initialiser, earlier, quiet=quiet)
        known = progress.done if progress else at or 0
        ahead = stack.enter_context(closing(read_ahead(reader, _hint_of(tracker), known=known)))
        followed = follow(ahead, tracker, initialiser, sinks, every=every, checkpoint=progress, earlier=earlier)
        try:
            stack.enter_context(_ending_on_signals())
            count = _report(stack.enter_context(closing(followed)), reader, as_json=as_json, quiet=quiet)
        except KeyboardInterrupt as error:
            if progress is not None:
                raise
            raise Cancelled("stopped; the outputs end here; with --checkpoint the same command would go on") from error
    for problem in [*reader.problems, *(line for sink in sinks for line in sink.problems)]:
        click.echo(f"samovar: {problem}", err=True)
    if not quiet:
        where = ", ".join(path for path in (out, masks, mot) if path)
        click.echo(f"{count} frames" + (f" → {where}" if where else ""), err=True)
    return 1 if reader.problems else 0


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP (`docker stop`, a lost connection) end a run as Ctrl-C does, its outputs whole, in here."""
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    main = threading.current_thread() is threading.main_thread()
    # Not what somebody handles or, as nohup, ignores.
    before = {kind: signal.SIG_DFL for kind in known if main and signal.getsignal(kind) is signal.SIG_DFL}
    for kind in before:
        signal.signal(kind, signal.default_int_handler)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _check_apart(video: str, outputs: Mapping[str, str | None]) -> None:
    """Raises InputError for an output that is what is read, or two that are one."""
    taken: dict[str, str] = {}
    for option, path in outputs.items():
        if not path:
            continue
        # os.path and not Path, which fails on what is too long for the name of a file.
        if os.path.exists(path) and os.path.exists(video) and os.path.samefile(path, video):  # noqa: PTH110, PTH121
            raise InputError(f"{path} is what is read; name another file to write")
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option:
            raise InputError(f"{other} and {option} are both {path}; name two files")


def _follow_back(
    reader: FrameReader,
    at: int,
    tracker: Tracker,
    initialiser: Initialiser | PromptsLike,
    earlier: BackwardMasks,
    *,
    quiet: bool,
) -> None:
    """Fill `earlier` with the masks of the frames before `at`, with progress on standard error."""
    show = not quiet and sys.stderr.isatty()
    with closing(read_ahead(reader.backwards(at), _hint_of(tracker))) as frames:
        done = follow_back(frames, tracker, initialiser, earlier)
        for _ in tqdm(done, "backwards", total=at, unit="frame", disable=not show, dynamic_ncols=True):
            pass


def _hint_of(tracker: Tracker) -> Callable[[list[Image]], None] | None:
    return tracker.prefetch if isinstance(tracker, PrefetchingTracker) else None


def _sinks(reader: FrameReader, out: str | None, masks: str | None, mot: str | None) -> list[TrackSink]:
    numbering = Numbering()
    sinks: list[TrackSink] = []
    if masks:
        sinks.append(open_masks(Path(masks), reader.name, numbering))
    if mot:
        sinks.append(MotText(Path(mot), numbering))
    if out:
        sinks.append(OverlayVideo(Path(out), reader, numbering))
    return sinks


def _report(followed: Iterable[tuple[Frame, Masks]], reader: FrameReader, *, as_json: bool, quiet: bool) -> int:
    """Progress on standard error, a line of JSON a frame on standard output; how many frames there were."""
    show = not quiet and sys.stderr.isatty()
    count = 0
    with tqdm(followed, total=reader.length, unit="frame", disable=not show, dynamic_ncols=True) as bar:
        for frame, masks in bar:
            count += 1
            bar.set_postfix(objects=int((masks.areas > 0).sum()), refresh=False)
            if as_json:
                line = {"frame": frame.number, "time": round(float(frame.time), 6), "masks": masks_to_records(masks)}
                click.echo(json.dumps(line))
    return count


def identity_of(video: str) -> list[str | int]:
    """What tells a video, or a folder's images, from others of the same name."""
    path = Path(video)
    if path.is_dir():
        told = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(find_images(path))]
        return [video, hashlib.sha256(json.dumps(told).encode()).hexdigest()]
    if not path.is_file():
        return [video]
    return [video, path.stat().st_size, path.stat().st_mtime_ns]


def _fraction(rate: float | None) -> Fraction | None:
    if rate is not None and not 0 < rate <= 1000:
        raise InputError(f"--rate must be above 0 and at most 1000 frames a second; got {rate}")
    return None if rate is None else Fraction(rate).limit_denominator(1001)


def _digest(prompts: Prompts | None) -> str:
    """What tells one set of prompts from another."""
    if prompts is None:
        return ""
    masks = [mask.to_coco_rle() if isinstance(mask, Masks) else None for mask in prompts.masks]
    arrays = prompts.boxes, prompts.points, prompts.point_labels, prompts.point_offsets
    told = [*(array.tolist() for array in arrays), prompts.texts, masks, prompts.labels, prompts.ids]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
