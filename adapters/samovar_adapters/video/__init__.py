"""Masks that keep their identity through a video.

    from samovar_adapters.video import follow, open_frames, open_tracker

Names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_adapters.video.backwards import Earlier, follow_back
    from samovar_adapters.video.checkpoint import Checkpoint
    from samovar_adapters.video.detections import DetectionTracker
    from samovar_adapters.video.engines import open_tracker
    from samovar_adapters.video.following import follow
    from samovar_adapters.video.frames.frame import Frame
    from samovar_adapters.video.frames.open import open_frames
    from samovar_adapters.video.outputs.numbering import Numbering
    from samovar_adapters.video.outputs.open import open_masks
    from samovar_adapters.video.outputs.overlay import OverlayVideo
    from samovar_adapters.video.propagate.tracker import PropagateTracker
    from samovar_adapters.video.starting import Starter

_HOME = {
    "Checkpoint": "checkpoint",
    "Earlier": "backwards",
    "DetectionTracker": "detections",
    "Frame": "frames.frame",
    "Numbering": "outputs.numbering",
    "OverlayVideo": "outputs.overlay",
    "PropagateTracker": "propagate.tracker",
    "Starter": "starting",
    "follow": "following",
    "follow_back": "backwards",
    "open_frames": "frames.open",
    "open_masks": "outputs.open",
    "open_tracker": "engines",
}

__all__ = [
    "Checkpoint",
    "DetectionTracker",
    "Earlier",
    "Frame",
    "Numbering",
    "OverlayVideo",
    "PropagateTracker",
    "Starter",
    "follow",
    "follow_back",
    "open_frames",
    "open_masks",
    "open_tracker",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
