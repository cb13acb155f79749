"""Objects followed through a task's video, by the tracking adapter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samovar_adapters.label_studio.frame import Frame
from samovar_adapters.label_studio.tracks import Box

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks
    from samovar.prompts import Prompts
    from samovar.runtime import Runtime
    from samovar.types import ObjectId
    from samovar_adapters.video import Frame as VideoFrame

__all__ = ["Followed", "follow_video"]

_SOON = 0.25  # of the time between two numbers, because files round the times of their frames


@dataclass
class Followed:
    """Where objects have been seen.

    Attributes:
        frame: the size of the pictures; None where the video ends before the first of them is wanted.
        boxes: of every object, by frame as the editor counts them; None where it is hidden.
        labels: of the objects.
        scores: of the objects, while they were seen.
        seconds: how long the video is.
        to_the_end: whether it was followed to the last frame.
    """

    frame: Frame | None = None
    boxes: dict[ObjectId, dict[int, Box | None]] = field(default_factory=dict)
    labels: dict[ObjectId, str | None] = field(default_factory=dict)
    scores: dict[ObjectId, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    to_the_end: bool = False

    def add(self, number: int, masks: Masks) -> None:
        """Note the objects of one frame."""
        for index, ident in enumerate(masks.ids):
            assert ident is not None  # noqa: S101  (trackers number what has none)
            seen = bool(masks.areas[index])
            x1, y1, x2, y2 = masks.boxes[index].tolist()
            self.boxes.setdefault(ident, {})[number] = (x1, y1, x2, y2) if seen else None
            self.labels[ident] = masks.labels[index]
            if seen:
                self.scores.setdefault(ident, []).append(float(masks.scores[index]))

    def score(self, ident: ObjectId) -> float:
        """The mean of an object's scores."""
        return float(np.mean(self.scores.get(ident, [0.0])))


def follow_video(
    runtime: Runtime,
    path: Path,
    rate: float,
    first: int,
    begin: Callable[[int, Image], Prompts],
    *,
    most: int,
    until: float,
    stop: threading.Event,
) -> Followed:
    """Follow objects from frame `first` on, for `most` frames, or until the time is up (`time.monotonic`).

    Args:
        rate: frames a second as the editor counts them; the file's own may be another.
        begin: what to follow from this frame on (number, from 1, and picture), besides what is followed.

    Raises:
        InputError: not a video.
        PromptError: a prompt that finds nothing.
        MissingExtraError: PyAV is not installed.
    """
    from samovar_adapters.video import open_frames, open_tracker

    found = Followed()
    tracker = open_tracker(runtime)
    shown: VideoFrame | None = None
    masks: Masks | None = None
    with closing(open_frames(str(path))) as reader:
        found.seconds = float((reader.length or 0) / reader.rate)
        for number, frame in _as_counted(reader, rate):
            if number >= first + most or time.monotonic() > until or stop.is_set():
                return found
            if number < first:
                continue
            prompts = begin(number, frame.image)
            if masks is None:
                found.frame = Frame(frame.image.width, frame.image.height)
                masks = tracker.start(frame.image, prompts)
            else:
                masks = masks if frame is shown else tracker.step(frame.image)
                if len(prompts):
                    masks = tracker.add(prompts)
            shown = frame
            found.add(number, masks)
    found.to_the_end = True
    return found


def _as_counted(frames: Iterable[VideoFrame], rate: float) -> Iterator[tuple[int, VideoFrame]]:
    """The frame that the editor shows for each of its numbers: number n at (n - 1) / rate seconds."""
    number = 1
    shown: VideoFrame | None = None
    began = 0.0
    for frame in frames:
        if shown is None:
            began = float(frame.time)
        else:
            while number - 1 < (float(frame.time) - began) * rate - _SOON:
                yield number, shown
                number += 1
        shown = frame
    if shown is not None:
        yield number, shown
