"""`open_tracker`: the tracker for a model."""

from __future__ import annotations

from samovar.errors import InputError, UnknownNameError
from samovar.runtime import Runtime
from samovar.tracking import Tracker, VideoSegmenter
from samovar_adapters.video.propagate.tracker import PropagateTracker

__all__ = ["ENGINES", "open_tracker"]

ENGINES = ("auto", "memory", "propagate")


def open_tracker(runtime: Runtime, engine: str = "auto") -> Tracker:
    """A new tracker.

    Args:
        engine: "memory": the model's own, which remembers earlier frames; "propagate": masks moved by optical flow and
            put right by the model, whichever it is; "auto": memory where the model has one.

    Raises:
        InputError: the model has no memory of its own.
        UnknownNameError: no engine of that name.
    """
    if engine not in ENGINES:
        raise UnknownNameError.among("engine", engine, ENGINES, "see samovar track --help")
    segmenter = runtime.segmenter
    if isinstance(segmenter, VideoSegmenter) and engine != "propagate":
        return segmenter.tracker()
    if engine == "memory":
        raise InputError(
            f"{runtime.name} has no memory of earlier frames; use engine propagate, or a SAM 2 video model"
        )
    return PropagateTracker(runtime)
