"""EdgeTAM: where its weights come from, and how its checkpoint is recognised."""

from __future__ import annotations

from collections.abc import Mapping

from samovar.plugins import SegmenterSpec
from samovar_plugins.sam.checkpoint import Shape
from samovar_plugins.sam2.catalogue import recognise as recognise_sam2
from samovar_plugins.weights import Source

__all__ = ["NAME", "SOURCE", "SPEC", "recognise"]

NAME = "edge-tam"

_REPOSITORY = "https://github.com/facebookresearch/EdgeTAM/raw/9cc44bfe9e16cc374242917b91283c718410ea87"

SOURCE = Source(f"{_REPOSITORY}/checkpoints/edgetam.pt", "git:abd54d22bbd22ba3e53cf59a307e59e0f3701be6")

SPEC = SegmenterSpec(
    name=NAME,
    target="samovar_plugins.edge_tam.loading:load_edge_tam",
    prompts=("points", "box", "mask"),
    summary="EdgeTAM on images: SAM 2's decoder on RepViT, an encoder made for phones",
    licence="Apache-2.0",
    weights=SOURCE.url,
    extra="sam",
    aliases=("yonigozlan/EdgeTAM-hf", "edgetam"),
    parameters=9_120_641,  # of the part for images
    embedding_bytes=16 << 20,
    devices=("cpu", "cuda"),
)

_TRUNK = "image_encoder.trunk.body."
_MARKS: dict[str, Shape] = {
    f"{_TRUNK}stem.conv2.c.weight": (48, 24, 3, 3),
    f"{_TRUNK}stages_3.blocks.1.channel_mixer.conv2.c.weight": (384, 768, 1, 1),
}
"""Shapes that tell RepViT-M1 from its other sizes."""


def recognise(shapes: Mapping[str, Shape]) -> tuple[str | None, str]:
    """The name of the model whose tensors, under Meta's names, have these shapes, if it is EdgeTAM; what to call it."""
    if "sam_mask_decoder.iou_token.weight" not in shapes or f"{_TRUNK}stem.conv2.c.weight" not in shapes:
        found = recognise_sam2(shapes)
        return (found.model.name if found.model else None), found.words
    if all(shapes.get(name) == shape for name, shape in _MARKS.items()):
        return NAME, NAME
    width = shapes[f"{_TRUNK}stem.conv2.c.weight"][0]
    return None, f"an EdgeTAM with an encoder of {width} channels"
