"""A tracker for any segmenter: masks moved by optical flow, corrected by appearance, motion and the segmenter."""

from __future__ import annotations

from samovar.plugins import TrackerSpec, hookimpl

__all__ = ["register_trackers"]


@hookimpl
def register_trackers() -> tuple[TrackerSpec, ...]:
    """The propagating tracker."""
    return (
        TrackerSpec(
            "propagate",
            "samovar_plugins.propagate.tracker:open_propagate",
            "any model's masks moved along by optical flow, and put right by the model",
        ),
    )
