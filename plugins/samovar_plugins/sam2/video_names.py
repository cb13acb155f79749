"""Hugging Face's names for the memory of SAM 2's video model, as Meta's checkpoints have them."""

from __future__ import annotations

import re

from samovar_plugins.sam2.names import renamed as renamed_image

__all__ = ["renamed"]

_WHOLE = {
    "memory_temporal_positional_encoding": "maskmem_tpos_enc",
    "no_memory_positional_encoding": "no_mem_pos_enc",
    "no_object_pointer": "no_obj_ptr",
}

_MLP = {"proj_in": 0, "layers.0": 1, "proj_out": 2}

_PATTERNS = (
    (re.compile(r"^(memory_attention\.(?:layers\.\d+\.)?)layer_norm(\d?)\."), r"\1norm\2."),
    (re.compile(r"^memory_encoder\.mask_downsampler\.final_conv\."), "memory_encoder.mask_downsampler.encoder.12."),
    (re.compile(r"^memory_encoder\.feature_projection\."), "memory_encoder.pix_feat_proj."),
    (re.compile(r"^memory_encoder\.projection\."), "memory_encoder.out_proj."),
    (re.compile(r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)scale$"), r"\1fuser\2gamma"),
    (re.compile(r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)depthwise_conv\."), r"\1fuser\2dwconv."),
    (re.compile(r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)pointwise_conv"), r"\1fuser\2pwconv"),
    (re.compile(r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)layer_norm\."), r"\1fuser\2norm."),
    (re.compile(r"^temporal_positional_encoding_projection_layer\."), "obj_ptr_tpos_proj."),
)

_DOWNSAMPLER = re.compile(r"^(memory_encoder\.mask_downsampler)\.layers\.(\d+)\.(conv|layer_norm)\.")
_HEADS = re.compile(r"^(object_pointer_proj|mask_decoder\.pred_obj_score_head)\.(proj_in|layers\.0|proj_out)\.")


def renamed(name: str) -> str:
    """One of Hugging Face's names as Meta's; the image part's as `samovar_plugins.sam2.names` has them."""
    if name in _WHOLE:
        return _WHOLE[name]
    for pattern, replacement in _PATTERNS:
        changed = pattern.sub(replacement, name)
        if changed != name:
            return changed
    if found := _DOWNSAMPLER.match(name):
        place = 3 * int(found[2]) + (found[3] == "layer_norm")
        return f"{found[1]}.encoder.{place}.{name[found.end() :]}"
    if found := _HEADS.match(name):
        head = "obj_ptr_proj" if found[1] == "object_pointer_proj" else f"sam_{found[1]}"
        return f"{head}.layers.{_MLP[found[2]]}.{name[found.end() :]}"
    return renamed_image(name)
