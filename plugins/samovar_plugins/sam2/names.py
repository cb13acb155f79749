"""Hugging Face's names for the tensors of SAM 2, as the names that Meta's checkpoints have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from samovar_plugins.sam.names import renamed as renamed_sam

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["canonical", "renamed", "split_points"]

T = TypeVar("T")

_POINTS = "sam_prompt_encoder.point_embeddings"

_WHOLE = {
    "no_memory_embedding": "no_mem_embed",
    "occlusion_spatial_embedding_parameter": "no_obj_embed_spatial",
}

_PATTERNS = (
    (re.compile(r"^vision_encoder\.backbone\."), "image_encoder.trunk."),
    (re.compile(r"^vision_encoder\.neck\.convs\.(\d+)\."), r"image_encoder.neck.convs.\1.conv."),
    (re.compile(r"^(mask_decoder|prompt_encoder)\."), r"sam_\1."),
    (re.compile(r"^(image_encoder\.trunk)\.patch_embed\.projection\."), r"\1.patch_embed.proj."),
    (re.compile(r"^(image_encoder\.trunk\.blocks\.\d+)\.layer_norm(\d)\."), r"\1.norm\2."),
    (re.compile(r"\.mlp\.proj_in\."), ".mlp.layers.0."),
    (re.compile(r"\.mlp\.proj_out\."), ".mlp.layers.1."),
    (re.compile(r"\.o_proj\."), ".out_proj."),
)


def canonical(tensors: Mapping[str, T]) -> dict[str, T]:
    """The same tensors under Meta's names; tensors that already have them, or that belong to neither, keep theirs."""
    if not any(name.startswith("vision_encoder.") for name in tensors):
        return dict(tensors)
    return {renamed(name): tensor for name, tensor in tensors.items()}


def split_points(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Meta has one tensor for each of the four kinds of points, Hugging Face one for all."""
    found = dict(tensors)
    together = found.pop(f"{_POINTS}.weight", None)
    if together is not None:
        found.update({f"{_POINTS}.{kind}.weight": together[kind : kind + 1] for kind in range(len(together))})
    return found


def renamed(name: str) -> str:
    """One of Hugging Face's names as Meta's."""
    name = renamed_sam(name)
    if name in _WHOLE:
        return _WHOLE[name]
    for pattern, replacement in _PATTERNS:
        name = pattern.sub(replacement, name)
    return name
