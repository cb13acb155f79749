"""EdgeTAM's tracker with its memory of earlier frames: SAM 2's, with memories shortened by a Perceiver."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from samovar.cache import Cache
from samovar_plugins.sam.segmenter import SamSegmenter
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.sam2.video import Family, canonical
from samovar_plugins.sam2.video_names import renamed as renamed_sam2

__all__ = ["FAMILY", "memory_tracker", "renamed"]

_PERCEIVER = "spatial_perceiver."
_BLOCKS = re.compile(r"\.mlp\.(up|down)_proj\.")
_PARTS = (
    (".layer_norm_input.", ".attn.norm_x."),
    (".layer_norm_latents.", ".attn.norm_latents."),
    (".layer_norm_self.", ".self_attn.norm."),
    (".cross_attention.", ".attn."),
    (".self_attention.", ".self_attn."),
    (".q_proj.", ".to_q."),
    (".o_proj.", ".to_out."),
    ("mlp.layer_norm.", "ff.0."),
    ("mlp.up_proj.", "ff.1."),
    ("mlp.down_proj.", "ff.3."),
    ("perceiver.layer_norm.", "perceiver.norm."),
    ("latents_1d", "latents"),
)


def memory_tracker(
    tensors: Mapping[str, Tensor], encoder: SamSegmenter, cache: Cache | None = None, *, dtype: torch.dtype
) -> MemoryTracker:
    """A tracker from the tensors of a checkpoint, under Meta's names or Hugging Face's.

    Args:
        encoder: the segmenter of the same weights, which encodes frames.
        cache: what frames are encoded through.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: a tensor is missing, or of another shape.
    """
    return FAMILY.tracker(_halves(canonical(tensors, renamed)), encoder, cache, dtype)


def renamed(name: str) -> str:
    """One of Hugging Face's names as Meta's; keys and values, which Meta has as one tensor, keep names of their own."""
    if not name.startswith(_PERCEIVER):
        if name.startswith("memory_attention."):
            name = _BLOCKS.sub(lambda found: f".linear{1 if found[1] == 'up' else 2}.", name)
        return renamed_sam2(name)
    for theirs, meta in _PARTS:
        name = name.replace(theirs, meta)
    return name


FAMILY = Family("edgetam_video", "EdgeTamVideo", renamed, whole=True)


def _halves(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys and values apart, as Hugging Face has them."""
    found = dict(tensors)
    for name in [name for name in found if name.startswith(_PERCEIVER) and ".to_kv." in name]:
        keys, values = found.pop(name).chunk(2)
        found[name.replace("to_kv", "k_proj")], found[name.replace("to_kv", "v_proj")] = keys, values
    return found
