"""Masks that keep their identity through a video.

    from samovar_adapters.video import follow, open_frames, open_tracker

As a plugin it brings `samovar track`, and the tracker by detection. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy
from samovar.plugins import TrackerSpec, hookimpl

if TYPE_CHECKING:
    import click

    from samovar_adapters.video.checkpoint import Checkpoint
    from samovar_adapters.video.following import BackwardMasks, Initialiser, follow, follow_back
    from samovar_adapters.video.frames import Frame, open_frames
    from samovar_adapters.video.outputs import Numbering, open_masks
    from samovar_adapters.video.overlay import OverlayVideo
    from samovar_adapters.video.trackers import DetectionTracker, open_tracker

__all__ = [
    "BackwardMasks",
    "Checkpoint",
    "DetectionTracker",
    "Frame",
    "Initialiser",
    "Numbering",
    "OverlayVideo",
    "follow",
    "follow_back",
    "open_frames",
    "open_masks",
    "open_tracker",
]

_NAMES = {
    "checkpoint": "Checkpoint",
    "following": "BackwardMasks Initialiser follow follow_back",
    "frames": "Frame open_frames",
    "outputs": "Numbering open_masks",
    "overlay": "OverlayVideo",
    "trackers": "DetectionTracker open_tracker",
}
_RENAMED = {
    "Earlier": "samovar_adapters.video.BackwardMasks",
    "PropagateTracker": "samovar_plugins.propagate.tracker.PropagateTracker",
    "Starter": "samovar_adapters.video.Initialiser",
}

__getattr__ = lazy(__name__, {name: home for home, names in _NAMES.items() for name in names.split()}, _RENAMED)


@hookimpl
def register_commands(cli: click.Group) -> None:
    """`samovar track …`."""
    from samovar_adapters.video.command import track

    cli.add_command(track)


@hookimpl
def register_trackers() -> tuple[TrackerSpec, ...]:
    """Tracking by detection."""
    return (
        TrackerSpec(
            "detections",
            "samovar_adapters.video.trackers:open_detections",
            "what a prompt source finds in every frame, with ids by association",
            needs_source=True,
            extra="track",
        ),
    )
