"""SAM 3's tracker with its memory of earlier frames: SAM 2's, on SAM 3's encoder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
    Sam3TrackerVideoInferenceSession,
    Sam3TrackerVideoModel,
)

from samovar_plugins.sam2.memory import MemoryTracker

__all__ = ["memory_tracker"]

_HALF = (0.5, 0.5, 0.5)


def memory_tracker(folder: Path, *, device: str, dtype: torch.dtype) -> MemoryTracker:
    """A tracker with the weights of a folder as Hugging Face lays it out."""
    model = Sam3TrackerVideoModel.from_pretrained(folder, dtype=dtype).to(device).eval()

    def session(height: int, width: int) -> Sam3TrackerVideoInferenceSession:
        return Sam3TrackerVideoInferenceSession(
            video_height=height,
            video_width=width,
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=dtype,
        )

    return MemoryTracker(model, session, mean=_HALF, std=_HALF, device=device, dtype=dtype)
