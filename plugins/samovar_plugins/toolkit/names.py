"""Hugging Face's names for the tensors of SAM and of what descends from it, as Meta's checkpoints have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["convert_name", "convert_state_dict"]

_FREQUENCIES = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"

_PREFIXES = {
    "vision_encoder.patch_embed.projection": "image_encoder.patch_embed.proj",
    "vision_encoder.pos_embed": "image_encoder.pos_embed",
    "vision_encoder.neck.conv1": "image_encoder.neck.0",
    "vision_encoder.neck.layer_norm1": "image_encoder.neck.1",
    "vision_encoder.neck.conv2": "image_encoder.neck.2",
    "vision_encoder.neck.layer_norm2": "image_encoder.neck.3",
    "prompt_encoder.shared_embedding.positional_embedding": _FREQUENCIES,
    "shared_image_embedding.positional_embedding": _FREQUENCIES,
    "prompt_encoder.point_embed": "prompt_encoder.point_embeddings",
    "prompt_encoder.mask_embed.conv1": "prompt_encoder.mask_downscaling.0",
    "prompt_encoder.mask_embed.layer_norm1": "prompt_encoder.mask_downscaling.1",
    "prompt_encoder.mask_embed.conv2": "prompt_encoder.mask_downscaling.3",
    "prompt_encoder.mask_embed.layer_norm2": "prompt_encoder.mask_downscaling.4",
    "prompt_encoder.mask_embed.conv3": "prompt_encoder.mask_downscaling.6",
    "mask_decoder.transformer.layer_norm_final_attn": "mask_decoder.transformer.norm_final_attn",
    "mask_decoder.upscale_conv1": "mask_decoder.output_upscaling.0",
    "mask_decoder.upscale_layer_norm": "mask_decoder.output_upscaling.1",
    "mask_decoder.upscale_conv2": "mask_decoder.output_upscaling.3",
    "mask_decoder.hq_token": "mask_decoder.hf_token",
    "mask_decoder.compress_vit_conv1": "mask_decoder.compress_vit_feat.0",
    "mask_decoder.compress_vit_norm": "mask_decoder.compress_vit_feat.1",
    "mask_decoder.compress_vit_conv2": "mask_decoder.compress_vit_feat.3",
    "mask_decoder.encoder_conv1": "mask_decoder.embedding_encoder.0",
    "mask_decoder.encoder_norm": "mask_decoder.embedding_encoder.1",
    "mask_decoder.encoder_conv2": "mask_decoder.embedding_encoder.3",
    "mask_decoder.mask_conv1": "mask_decoder.embedding_maskfeature.0",
    "mask_decoder.mask_norm": "mask_decoder.embedding_maskfeature.1",
    "mask_decoder.mask_conv2": "mask_decoder.embedding_maskfeature.3",
}
"""Modules that are called otherwise as a whole."""

_PATTERNS = (
    (r"^vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.", r"image_encoder.blocks.\1.norm\2."),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.layer_norm(\d)\.", r"\1.norm\2."),
)
"""Modules that there are many of."""

_HEAD = r"^mask_decoder\.(output_hypernetworks_mlps\.\d+|iou_prediction_head|hq_mask_mlp)\.([a-z_]+[.0-9]*)\.(\w+)$"
_PLACES = {"proj_in": "0", "layers.0": "1", "proj_out": "2"}


def convert_name(name: str) -> str:
    """Meta's name for what Hugging Face calls `name` in SAM and SAM-HQ."""
    head = re.match(_HEAD, name)
    if head:
        module = head[1].replace("hq_mask_mlp", "hf_mlp")
        return f"mask_decoder.{module}.layers.{_PLACES.get(head[2], head[2])}.{head[3]}"
    if name in _PREFIXES:
        return _PREFIXES[name]
    module, _, leaf = name.rpartition(".")
    if module in _PREFIXES:
        return f"{_PREFIXES[module]}.{leaf}"
    outer, _, number = module.rpartition(".")
    if outer in _PREFIXES:
        return f"{_PREFIXES[outer]}.{number}.{leaf}"
    for pattern, replacement in _PATTERNS:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def convert_state_dict(
    tensors: Mapping[str, Any], convert: Callable[[str], str] = convert_name, hub: str = "vision_encoder."
) -> dict[str, Any]:
    """The same tensors, or their shapes, under Meta's names; those that have them already keep theirs.

    Args:
        convert: from Hugging Face's names.
        hub: what some of them begin with, and none of Meta's.
    """
    if not any(name.startswith(hub) for name in tensors):
        return dict(tensors)
    return {convert(name): tensor for name, tensor in tensors.items()}
