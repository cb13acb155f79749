"""SAM 2's video model from the tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from samovar.errors import MissingExtraError, WeightsError
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.sam2.video_names import renamed

if TYPE_CHECKING:
    from samovar_plugins.sam2.catalogue import Model

__all__ = ["memory_tracker", "video_config"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_POINTS = "sam_prompt_encoder.point_embeddings"


def video_config(model: Model, tensors: Mapping[str, Tensor]) -> Any:
    """The transformers configuration of a published model. Raises MissingExtraError."""
    layout = model.layout
    widths = [model.width * 2**stage for stage in range(len(layout.stages))]
    background = tensors["image_encoder.trunk.pos_embed"].shape[-2:]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": model.width,
        "num_attention_heads": layout.heads,
        "window_positional_embedding_background_size": list(background),
        "blocks_per_stage": list(layout.stages),
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [layout.heads * 2**stage for stage in range(len(layout.stages))],
        "window_size_per_stage": list(layout.windows),
        "global_attention_blocks": list(layout.everywhere),
    }
    return _transformers("configuration_sam2_video").Sam2VideoConfig(
        vision_config={"backbone_config": backbone, "backbone_channel_list": widths[::-1]},
        enable_temporal_pos_encoding_for_object_pointers=model.later,
        enable_occlusion_spatial_embedding=model.later,
    )


def memory_tracker(config: Any, tensors: Mapping[str, Tensor], *, device: str, dtype: torch.dtype) -> MemoryTracker:
    """A tracker from a transformers `Sam2VideoConfig` and tensors under Meta's names.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: a tensor is missing, or of another shape.
    """
    module = _transformers("modeling_sam2_video")
    model = module.Sam2VideoModel(config)
    state = {}
    for name, wanted in model.state_dict().items():
        found = _tensor(tensors, renamed(name))
        if found is None or found.shape != wanted.shape:
            got = "nothing" if found is None else "×".join(map(str, found.shape))
            raise WeightsError(f"expected {renamed(name)} of {'×'.join(map(str, wanted.shape))}; got {got}")
        state[name] = found
    model.load_state_dict(state)
    model = model.to(device=device, dtype=dtype).eval()
    session = partial(_session, module.Sam2VideoInferenceSession, device, dtype)
    return MemoryTracker(model, session, mean=_MEAN, std=_STD, device=device, dtype=dtype)


def _transformers(part: str) -> Any:
    try:
        return import_module(f"transformers.models.sam2_video.{part}")
    except ImportError as error:
        raise MissingExtraError(
            f'the memory engine needs transformers ({error}); run: pip install "samovar[sam2-video]"'
        ) from error


def _session(kind: Any, device: str, dtype: torch.dtype, height: int, width: int) -> Any:
    return kind(
        video_height=height,
        video_width=width,
        inference_device=device,
        inference_state_device=device,
        video_storage_device=device,
        dtype=dtype,
    )


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor | None:
    if name == f"{_POINTS}.weight" and name not in tensors:  # Meta has one tensor for each of the four kinds
        parts = [tensors.get(f"{_POINTS}.{kind}.weight") for kind in range(4)]
        return torch.cat([part for part in parts if part is not None])
    return tensors.get(name)
