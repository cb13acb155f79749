"""SAM 3: where its weights come from, and how its checkpoint is recognised."""

from __future__ import annotations

from collections.abc import Mapping

from samovar.plugins import SegmenterSpec
from samovar_plugins.edge_tam.catalogue import recognise as recognise_edge_tam
from samovar_plugins.edge_tam.names import canonical
from samovar_plugins.sam.checkpoint import Shape
from samovar_plugins.weights import Source

__all__ = ["HUB", "NAME", "PAGE", "SOURCE", "SPEC", "recognise"]

NAME = "sam3"
HUB = "facebook/sam3"
PAGE = f"https://huggingface.co/{HUB}"
SOURCE = Source(PAGE)

SPEC = SegmenterSpec(
    name=NAME,
    target="samovar_plugins.sam3.loading:load_sam3",
    prompts=("points", "box", "mask", "text"),
    summary=f"SAM 3 on images: clicks, boxes and masks, and text for every instance; ask for access at {PAGE}",
    licence="SAM License",
    weights=SOURCE.url,
    extra="sam3",
    aliases=(HUB,),
    gated=True,
    parameters=859_921_848,
    embedding_bytes=4 * 72 * 72 * (1024 + 256 + 4 * 64 + 16 * 32),
    devices=("cpu", "cuda"),
)

_MARKS = (
    "detector_model.detr_decoder.query_embed.weight",
    "tracker_model.mask_decoder.iou_token.weight",
    "tracker_neck.fpn_layers.0.proj1.weight",
)


def recognise(shapes: Mapping[str, Shape]) -> tuple[str | None, str]:
    """The name of the model whose tensors, under Hugging Face's names, have these shapes, and what to call it."""
    if all(mark in shapes for mark in _MARKS):
        return NAME, NAME
    if any(name.startswith(("detector.", "tracker.")) for name in shapes):
        return None, "a SAM 3 checkpoint under Meta's names, where Hugging Face's are needed"
    return recognise_edge_tam(canonical(shapes))
