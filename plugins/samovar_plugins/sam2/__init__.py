"""SAM 2 and SAM 2.1: a hierarchical encoder and SAM's decoder with high-resolution features, and a memory for video.

`plugin` says what there is, and imports no torch. Models that descend from SAM 2 build on the names below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

_HOME = {
    "BESIDE": "plugin",
    "MemoryTracker": "memory",
    "VideoFamily": "video",
    "build_around": "decoder",
    "components": "decoder",
    "convert_name": "plugin",
    "convert_video_name": "plugin",
    "named": "video",
    "session_of": "video",
    "with_weights": "video",
}

__all__ = [
    "BESIDE",
    "MemoryTracker",
    "VideoFamily",
    "build_around",
    "components",
    "convert_name",
    "convert_video_name",
    "named",
    "session_of",
    "with_weights",
]

__getattr__ = lazy(__name__, _HOME)

if TYPE_CHECKING:
    from samovar_plugins.sam2.decoder import build_around, components
    from samovar_plugins.sam2.memory import MemoryTracker
    from samovar_plugins.sam2.plugin import BESIDE, convert_name, convert_video_name
    from samovar_plugins.sam2.video import VideoFamily, named, session_of, with_weights
