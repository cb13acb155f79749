"""SAM 3's tracker with its memory of earlier frames: SAM 2's, on SAM 3's encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import Sam3TrackerVideoConfig
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
    Sam3TrackerVideoInferenceSession,
    Sam3TrackerVideoModel,
)

from samovar.cache import Cache
from samovar_plugins.sam.segmenter import SamSegmenter
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.sam2.video import session_of, with_weights

__all__ = ["memory_tracker"]


def memory_tracker(
    folder: Path,
    load: Callable[[], Mapping[str, Tensor]],
    encoder: SamSegmenter,
    dtype: torch.dtype,
    cache: Cache | None = None,
) -> MemoryTracker:
    """A tracker from the part of a checkpoint that is not the encoder.

    Args:
        folder: where the configuration is, unless it is the published one.
        load: reads the tensors, under Hugging Face's names.
        encoder: the segmenter of the same weights, which encodes frames.
        cache: what frames are encoded through.

    Raises:
        WeightsError: a tensor is missing, or of another shape.
    """
    own = (folder / "config.json").is_file()
    config = Sam3TrackerVideoConfig.from_pretrained(str(folder)) if own else Sam3TrackerVideoConfig()
    model = Sam3TrackerVideoModel(config, remove_vision_encoder=True)
    model = with_weights(model, load(), "tracker_model.{}".format, encoder.device, dtype)
    session = session_of(Sam3TrackerVideoInferenceSession, encoder.device, dtype)
    return MemoryTracker(model, session, encoder, cache, dtype=dtype)
