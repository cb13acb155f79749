"""Frames through a tracker into sinks, from the first frame on or from one in the middle to both ends."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np

from samovar.deprecation import renamed_keywords
from samovar.errors import InputError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts, PromptsLike
from samovar.protocols import PromptSource
from samovar.runtime import Runtime
from samovar.tracking import EditableTracker, ResumableTracker, Tracker
from samovar_adapters.video.checkpoint import Checkpoint, from_line, to_line
from samovar_adapters.video.frames import Frame
from samovar_adapters.video.outputs import TrackSink

__all__ = ["BackwardMasks", "Initialiser", "follow", "follow_back"]

_KNOWN = 0.5  # of a find's area inside what is already followed, above which it is nothing new
_AROUND = 8.0  # times its area: what is larger is what a find may stand in front of, such as a meadow
_SAME = 0.7  # IoU above which two finds are one
_SMALLEST = 0.0005  # of the frame
_NO_FRAMES = "no frames to follow anything through; name another video"


@renamed_keywords(starter="initialiser")
def follow(
    frames: Iterable[Frame],
    tracker: Tracker,
    initialiser: Initialiser | PromptsLike,
    sinks: Sequence[TrackSink] = (),
    *,
    every: int | None = None,
    checkpoint: Checkpoint | None = None,
    earlier: BackwardMasks | None = None,
) -> Generator[tuple[Frame, Masks]]:
    """One frame and its masks after another, each already in every sink. The sinks are closed, whatever happens.

    Args:
        frames: in order; only those that are worked on are in memory.
        initialiser: what to follow: prompts for the first frame that `earlier` does not have, or an `Initialiser`,
            which may also find what enters later.
        every: let the initialiser look for new objects every so many frames.
        checkpoint: keeps the progress; frames that it already has are not tracked again.
        earlier: the masks of the frames before the one that the prompts are for, from `follow_back`.

    Raises:
        InputError: no frames, or frames of several sizes.
        PromptError: a prompt that finds nothing.
    """
    resumable = tracker if isinstance(tracker, ResumableTracker) else None
    if checkpoint is not None and resumable is None:
        raise InputError(f"{type(tracker).__name__} cannot be saved; leave checkpoint out")
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(closing(sink))
        if checkpoint is not None:
            stack.enter_context(closing(checkpoint))
        started = False
        for frame in frames:
            if checkpoint and resumable and frame.number < checkpoint.done and not started:
                masks = checkpoint.masks(frame.number)
                if frame.number == checkpoint.done - 1:
                    checkpoint.restore(resumable)
                    started = True
            elif earlier is not None and frame.number in earlier:
                masks = earlier.masks(frame.number)
            else:
                masks = _tracked(frame, tracker, initialiser, every, first=not started)
                started = True
                if checkpoint and resumable:
                    checkpoint.add(masks, resumable)
            for sink in sinks:
                sink.write(frame, masks)
            yield frame, masks
        if not started:
            raise InputError(_NO_FRAMES)


def _tracked(
    frame: Frame, tracker: Tracker, initialiser: Initialiser | PromptsLike, every: int | None, *, first: bool
) -> Masks:
    if first:
        return tracker.start(frame.image, _first(initialiser, frame))
    masks = tracker.step(frame.image)
    if every and frame.number % every == 0 and isinstance(initialiser, Initialiser):
        entered = initialiser.entered(frame.image, masks[np.flatnonzero(masks.areas)])
        if len(entered):
            if not isinstance(tracker, EditableTracker):
                raise InputError(f"{type(tracker).__name__} takes no objects on the way; leave every out")
            return tracker.add(entered)
    return masks


def _first(initialiser: Initialiser | PromptsLike, frame: Frame) -> PromptsLike:
    return initialiser.first(frame.image) if isinstance(initialiser, Initialiser) else initialiser


@dataclass(frozen=True)
class Initialiser:
    """Says what to follow.

    Attributes:
        prompts: for the first frame; a text may mean several objects, and is asked again later for what has entered.
        source: asked for prompts in the first frame, and later for what has entered.
        everything: look for every object by itself instead.
        most: objects that a look at one frame may start, the largest first.
    """

    runtime: Runtime
    prompts: Prompts | None = None
    source: PromptSource | None = None
    everything: bool = False
    most: int = 20

    def first(self, image: Image) -> Prompts:
        """The first frame's objects."""
        if self.prompts is None:
            return self.entered(image, Masks.empty(image.width, image.height))
        if not self.prompts.texts:
            return self.prompts
        return _as_prompts(self.runtime.segment(image, self.prompts))

    def entered(self, image: Image, followed: Masks) -> Prompts:
        """Objects in the frame that `followed` does not cover; none where there is no source or text to ask again."""
        texts = [prompt for prompt in self.prompts or () if prompt.text is not None]
        if texts:
            found = self.runtime.segment(image, texts)
        elif self.source is not None:
            found = self.runtime.segment(image, self.source.prompts([image])[0])
        elif self.everything:
            found = self.runtime.segment_all(image)
        else:
            return Prompts.of(())
        found = found[found.areas >= _SMALLEST * image.width * image.height]
        found = found[found.nms(_SAME)]
        if len(found) and len(followed):
            inside = found.iou(followed, crowd=np.ones(len(followed), np.bool_))
            inside[followed.areas[None] > _AROUND * found.areas[:, None]] = 0
            found = found[inside.sum(axis=1) < _KNOWN]
        return _as_prompts(found[np.argsort(-found.areas, kind="stable")[: self.most]])


def _as_prompts(masks: Masks) -> Prompts:
    return Prompts.of([Prompt(mask=mask, label=mask.labels[0]) for mask in masks if mask.areas[0]])


class BackwardMasks:
    """The masks of a video's first frames, found last first. They lie in a temporary file and not in memory."""

    def __init__(self) -> None:
        self._file = TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - closed by close
        self._places: dict[int, int] = {}

    def add(self, number: int, masks: Masks) -> None:
        """Keep the masks of frame `number`."""
        self._places[number] = self._file.seek(0, 2)
        self._file.write(to_line(masks))

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def masks(self, number: int) -> Masks:
        """The masks of a frame that is kept."""
        self._file.seek(self._places[number])
        return from_line(self._file.readline())

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


@renamed_keywords(starter="initialiser")
def follow_back(
    frames: Iterable[Frame], tracker: Tracker, initialiser: Initialiser | PromptsLike, earlier: BackwardMasks
) -> Generator[Frame]:
    """One frame after another whose masks are now in `earlier`; all but the first, for which the prompts are.

    Args:
        frames: the frame that the prompts are for, and those before it, last first: `FrameReader.backwards`.
        earlier: for `follow`, which takes the masks from there, and starts with the same prompts in the same frame.

    Raises:
        InputError: no frames.
        PromptError: a prompt that finds nothing.
    """
    started = False
    for frame in frames:
        if started:
            earlier.add(frame.number, tracker.step(frame.image))
            yield frame
        else:
            tracker.start(frame.image, _first(initialiser, frame))
            started = True
    if not started:
        raise InputError(_NO_FRAMES)
