"""`follow`: frames through a tracker into sinks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing

import numpy as np

from samovar.errors import InputError
from samovar.masks import Masks
from samovar.prompts import PromptsLike
from samovar.tracking import Tracker
from samovar_adapters.video.backwards import Earlier
from samovar_adapters.video.checkpoint import Checkpoint
from samovar_adapters.video.frames.frame import Frame
from samovar_adapters.video.outputs.open import TrackSink
from samovar_adapters.video.starting import Starter

__all__ = ["follow"]


def follow(
    frames: Iterable[Frame],
    tracker: Tracker,
    starter: Starter | PromptsLike,
    sinks: Sequence[TrackSink] = (),
    *,
    every: int | None = None,
    checkpoint: Checkpoint | None = None,
    earlier: Earlier | None = None,
) -> Generator[tuple[Frame, Masks]]:
    """One frame and its masks after another, each already in every sink. The sinks are closed, whatever happens.

    Args:
        frames: in order; only those that are worked on are in memory.
        starter: what to follow: prompts for the first frame that `earlier` does not have, or a `Starter`, which may
            also find what enters later.
        every: let the starter look for new objects every so many frames.
        checkpoint: keeps the progress; frames that it already has are not tracked again.
        earlier: the masks of the frames before the one that the prompts are for, from `follow_back`.

    Raises:
        InputError: no frames, or frames of several sizes.
        PromptError: a prompt that finds nothing.
    """
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(closing(sink))
        if checkpoint is not None:
            stack.enter_context(closing(checkpoint))
        started = False
        for frame in frames:
            if checkpoint is not None and frame.number < checkpoint.done and not started:
                masks = checkpoint.masks(frame.number)
                if frame.number == checkpoint.done - 1:
                    checkpoint.restore(tracker)
                    started = True
            elif earlier is not None and frame.number in earlier:
                masks = earlier.masks(frame.number)
            else:
                masks = _tracked(frame, tracker, starter, every, first=not started)
                started = True
                if checkpoint is not None:
                    checkpoint.add(masks, tracker)
            for sink in sinks:
                sink.write(frame, masks)
            yield frame, masks
        if not started:
            raise InputError("no frames to follow anything through; name another video")


def _tracked(
    frame: Frame, tracker: Tracker, starter: Starter | PromptsLike, every: int | None, *, first: bool
) -> Masks:
    if first:
        return tracker.start(frame.image, starter.first(frame.image) if isinstance(starter, Starter) else starter)
    masks = tracker.step(frame.image)
    if every and frame.number % every == 0 and isinstance(starter, Starter):
        entered = starter.entered(frame.image, masks[np.flatnonzero(masks.areas)])
        if len(entered):
            masks = tracker.add(entered)
    return masks
