"""EdgeTAM: where its weights come from, how its checkpoint is recognised, and which networks it is made of.

Imports no model library: listing models reads this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar import hookimpl
from samovar.plugins import SegmenterSpec
from samovar_plugins.sam2 import BESIDE, convert_name
from samovar_plugins.toolkit import Detected, Family, Weights, convert_state_dict

if TYPE_CHECKING:
    from samovar_plugins.toolkit import SamComponents, Shape

__all__ = ["FAMILY", "NAME", "build_edge_tam", "identify_weights", "register_segmenters"]

NAME = "edge-tam"

_REPOSITORY = "https://github.com/facebookresearch/EdgeTAM/raw/9cc44bfe9e16cc374242917b91283c718410ea87"

SPEC = SegmenterSpec(
    name=NAME,
    target="samovar_plugins.edge_tam.plugin:FAMILY.load",
    prompts=("points", "box", "mask"),
    summary="EdgeTAM on images: SAM 2's decoder on RepViT, an encoder made for phones",
    licence="Apache-2.0",
    weights=f"{_REPOSITORY}/checkpoints/edgetam.pt",
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


def detect(shapes: Mapping[str, Shape]) -> Detected | None:
    """EdgeTAM, if its tensors have these shapes under Meta's names."""
    width = shapes.get(f"{_TRUNK}stem.conv2.c.weight")
    if "sam_mask_decoder.iou_token.weight" not in shapes or width is None:
        return None
    if all(shapes.get(name) == shape for name, shape in _MARKS.items()):
        return Detected(NAME, (NAME,))
    return Detected(f"an EdgeTAM with an encoder of {width[0]} channels")


def convert(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The same tensors, or their shapes, under Meta's names; those that have them already keep theirs."""
    theirs, ours = "image_encoder.trunk.timm_model.", "image_encoder.trunk.body."
    return {name.replace(theirs, ours): tensor for name, tensor in convert_state_dict(tensors, convert_name).items()}


def build_edge_tam(weights: Weights, image_size: int = 1024) -> SamComponents:
    """The networks, for a square of that side."""
    from samovar_plugins.edge_tam.rep_vit import RepVit, memory_tracker
    from samovar_plugins.sam2 import build_around

    trunk = RepVit(weights.state.at("image_encoder.trunk.body"), image_size)
    return replace(build_around(trunk, weights.state), tracker=partial(memory_tracker, weights.reload))


FAMILY = Family(
    specs=[SPEC],
    detect=detect,
    build=build_edge_tam,
    convert=convert,
    beside=[*BESIDE, r"spatial_perceiver\.", r".*\.num_batches_tracked$"],
    digests={NAME: "git:abd54d22bbd22ba3e53cf59a307e59e0f3701be6"},
)


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """EdgeTAM."""
    return FAMILY.specs


@hookimpl
def identify_weights(path: Path) -> str | None:
    """Whether a checkpoint file or folder is EdgeTAM's, by the names and shapes of its tensors."""
    return FAMILY.identify(path)
