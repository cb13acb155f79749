"""`open_tracker`: the tracker for a model."""

from __future__ import annotations

from samovar.errors import InputError, UnknownNameError
from samovar.protocols import PromptSource
from samovar.runtime import Runtime
from samovar.tracking import Tracker, VideoSegmenter
from samovar_adapters.video.detections import DetectionTracker
from samovar_adapters.video.propagate.tracker import PropagateTracker

__all__ = ["ENGINES", "open_tracker"]

ENGINES = ("auto", "memory", "propagate", "detections")


def open_tracker(runtime: Runtime, engine: str = "auto", detector: PromptSource | None = None) -> Tracker:
    """A new tracker.

    Args:
        engine: "memory": the model's own, which remembers earlier frames; "propagate": masks moved by optical flow and
            put right by the model, whichever it is; "auto": memory where the model has one; "detections": what
            `detector` finds in each frame, with ids by association.
        detector: for "detections".

    Raises:
        InputError: the model has no memory of its own, or there is no detector.
        MissingExtraError: "detections" without `trackers` installed.
        UnknownNameError: no engine of that name.
    """
    if engine not in ENGINES:
        raise UnknownNameError.among("engine", engine, ENGINES, "see samovar track --help")
    if engine == "detections":
        if detector is None:
            raise InputError("engine detections needs a detector in every frame; name one with --source")
        return DetectionTracker(runtime, detector)
    segmenter = runtime.segmenter
    if isinstance(segmenter, VideoSegmenter) and engine != "propagate":
        return segmenter.tracker(runtime.cache)
    if engine == "memory":
        raise InputError(
            f"{runtime.name} has no memory of earlier frames; use engine propagate, or a SAM 2 video model"
        )
    return PropagateTracker(runtime)
