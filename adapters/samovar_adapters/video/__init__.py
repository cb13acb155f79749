"""Masks that keep their identity through a video.

    from samovar_adapters.video import follow, open_frames, open_tracker

Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.video.checkpoint import Checkpoint
    from samovar_adapters.video.following import Earlier, Starter, follow, follow_back
    from samovar_adapters.video.frames import Frame, open_frames
    from samovar_adapters.video.outputs import Numbering, open_masks
    from samovar_adapters.video.overlay import OverlayVideo
    from samovar_adapters.video.propagate.tracker import PropagateTracker
    from samovar_adapters.video.trackers import DetectionTracker, open_tracker

_HOME = {
    "Checkpoint": "checkpoint",
    "DetectionTracker": "trackers",
    "Earlier": "following",
    "Frame": "frames",
    "Numbering": "outputs",
    "OverlayVideo": "overlay",
    "PropagateTracker": "propagate.tracker",
    "Starter": "following",
    "follow": "following",
    "follow_back": "following",
    "open_frames": "frames",
    "open_masks": "outputs",
    "open_tracker": "trackers",
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

__getattr__ = lazy(__name__, _HOME)
