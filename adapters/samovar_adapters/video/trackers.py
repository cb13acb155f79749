"""Trackers for a model: `open_tracker`, and `DetectionTracker`, a detector in every frame with ids by `trackers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from samovar.errors import InputError, MissingExtraError, PromptError, UnknownNameError
from samovar.image import Image
from samovar.masks import Masks
from samovar.plugins import find_tracker, list_trackers, resolve
from samovar.prompts import Prompt, Prompts, PromptsLike
from samovar.protocols import PromptSource
from samovar.runtime import Runtime
from samovar.tracking import Tracker, VideoSegmenter

__all__ = ["DetectionTracker", "asks_every_frame", "associators", "open_detections", "open_tracker"]

_OF_MODEL = ("auto", "memory")  # engines that are the model's own, where it has one
_PATIENCE = 30  # frames that an object may be missed before its id is given up
_NAMES = {"bytetrack": "ByteTrackTracker", "ocsort": "OCSORTTracker", "sort": "SORTTracker"}


def open_tracker(runtime: Runtime, engine: str = "auto", detector: PromptSource | None = None) -> Tracker:
    """A new tracker.

    Args:
        engine: "memory": the model's own, which remembers earlier frames; "propagate": masks moved by optical flow and
            put right by the model, whichever it is; "auto": memory where the model has one, else propagate;
            "detections": what `detector` finds in each frame, with ids by association; or any tracker that a plugin
            brings.
        detector: for "detections" and other trackers that need one.

    Raises:
        InputError: the model has no memory of its own, or there is no detector.
        MissingExtraError: "detections" without `trackers` installed.
        UnknownNameError: no engine of that name.
    """
    segmenter = runtime.segmenter
    if engine in _OF_MODEL and isinstance(segmenter, VideoSegmenter):
        return segmenter.tracker(runtime.cache)
    if engine == "memory":
        raise InputError(
            f"{runtime.name} has no memory of earlier frames; use engine propagate, or a SAM 2 video model"
        )
    asks = asks_every_frame(engine)
    if asks and detector is None:
        raise InputError(f"engine {engine} needs a detector in every frame; name one with --source")
    spec = find_tracker("propagate" if engine == "auto" else engine)
    return resolve(spec)(runtime, source=detector if asks else None)


def asks_every_frame(engine: str) -> bool:
    """Whether this engine follows what a detector finds, and not what prompts ask for. Raises UnknownNameError."""
    needs = {spec.name: spec.needs_source for spec in list_trackers()} | dict.fromkeys(_OF_MODEL, False)
    if engine not in needs:
        raise UnknownNameError.among("engine", engine, needs, "see samovar track --help")
    return needs[engine]


def open_detections(runtime: Runtime, /, *, source: PromptSource | None = None) -> DetectionTracker:
    """The tracker "detections". Raises InputError without a source."""
    if source is None:
        raise InputError("tracking by detection needs a source of boxes; give source=")
    return DetectionTracker(runtime, source)


def associators() -> dict[str, Callable[[], Any]]:
    """What gives boxes their ids, by name: trackers of Roboflow's `trackers`, set to report as early as they can.

    Raises:
        MissingExtraError: `trackers` is not installed.
    """
    try:
        module = import_module("trackers")
    except ImportError as error:
        raise MissingExtraError(
            f'tracking by detection needs trackers ({error}); run: pip install "samovar[track]"'
        ) from error
    made = {name: getattr(module, known) for name, known in _NAMES.items()}
    settings = {"lost_track_buffer": _PATIENCE, "minimum_consecutive_frames": 1}
    return {name: partial(kind, **settings) for name, kind in made.items()}


def _known(name: str) -> Callable[[], Any]:
    known = associators()
    if name not in known:
        raise InputError(f"association must be one of {', '.join(known)}; got {name!r}")
    return known[name]


class DetectionTracker:
    """Follows whatever a detector finds. New objects join when they are found in two frames in a row, so that a single
    false alarm starts nothing; one missed for 30 frames has left for good.

    A `samovar.tracking.Tracker` whose objects are the detector's to choose: prompts are not taken, and `step` gives the
    masks of those that the frame shows. Ids are numbers from 1, never used twice.

    Args:
        runtime: turns boxes into masks.
        detector: gives boxes, with labels if it has them.
        association: one of `associators` by name, or a function that makes something with the same
            `update(detections)`: `supervision.Detections` in, and out again with a `tracker_id` each, −1 for none yet.

    Raises:
        MissingExtraError: `trackers` is not installed.
        InputError: no association of that name.
    """

    def __init__(
        self, runtime: Runtime, detector: PromptSource, association: str | Callable[[], Any] = "bytetrack"
    ) -> None:
        self._runtime, self._detector = runtime, detector
        self._make = _known(association) if isinstance(association, str) else association
        self._associate: Any = None
        self._ids: dict[int, int] = {}

    def start(self, frame: Image, prompts: PromptsLike = ()) -> Masks:
        """Forget everything, and take `frame` as the first. Raises PromptError for prompts."""
        if len(Prompts.of(prompts)):
            raise PromptError("the detector says what is followed; got prompts as well; leave them out")
        self._associate, self._ids = self._make(), {}
        return self.step(frame)

    def step(self, frame: Image) -> Masks:
        """The masks of the objects that the detector finds in the next frame, with their ids. Raises InputError."""
        if self._associate is None:
            raise InputError("no frame yet; call start(frame) first")
        found = self._detector.prompts([frame])[0]
        found = Prompts.of([prompt for prompt in found if prompt.box is not None])
        rows, ids = self._identify(found)
        prompts = [
            Prompt(box=found.boxes[row], label=found.labels[row] if found.labels else None, id=ident)
            for row, ident in zip(rows, ids)
        ]
        return self._runtime.segment(frame, prompts)

    def _identify(self, found: Prompts) -> tuple[list[int], list[int]]:
        """The rows that are part of a track, and their ids, in the order of the ids."""
        detections = import_module("supervision").Detections(
            xyxy=found.boxes.astype(np.float32).reshape(-1, 4),
            confidence=np.ones(len(found), np.float32),
            class_id=np.zeros(len(found), np.int64),
            data={"row": np.arange(len(found))},
        )
        tracked = self._associate.update(detections)
        pairs = []
        for row, number in zip(tracked.data.get("row", ()), () if tracked.tracker_id is None else tracked.tracker_id):
            if number >= 0:
                pairs.append((self._ids.setdefault(int(number), len(self._ids) + 1), int(row)))
        return [row for _, row in sorted(pairs)], [ident for ident, _ in sorted(pairs)]

    def prefetch(self, frames: Iterable[Image]) -> None:
        """See `samovar.tracking.PrefetchingTracker.prefetch`."""
        self._runtime.prefetch(frames)
