"""Which networks each family is made of."""

from __future__ import annotations

from samovar_plugins.sam.catalogue import Family
from samovar_plugins.sam.decoder import SamDecoder
from samovar_plugins.sam.efficient import EfficientDecoder, EfficientPromptEncoder
from samovar_plugins.sam.efficient_vit import EfficientVit
from samovar_plugins.sam.encoding import Encoder, LongestSide, Squeezed
from samovar_plugins.sam.hq import HqDecoder, HqEncoder
from samovar_plugins.sam.layers import State
from samovar_plugins.sam.prompts import SamPromptEncoder
from samovar_plugins.sam.segmenter import Parts
from samovar_plugins.sam.tiny_vit import TinyVit
from samovar_plugins.sam.vit import Vit

__all__ = ["build"]


def build(family: Family, state: State, frame: int | None = None) -> Parts:
    """The parts of a model from its weights.

    Args:
        family: see `catalogue`.
        state: under the names of the published checkpoint.
        frame: side of the encoder's square, where the weights leave it open; 1024 by default.
    """
    image, decoder = state.at("image_encoder"), state.at("mask_decoder")
    side = frame or 1024
    encoder: Encoder
    if family == "efficient-sam":
        encoder = EfficientVit(image, side)
        points = EfficientPromptEncoder(state.at("prompt_encoder"), side)
        grid = (side // 16, side // 16)
        return Parts(encoder, points, EfficientDecoder(decoder, points.position(grid)), Squeezed(side), grid, None)
    fine = family in ("sam-hq", "sam-hq-tiny")
    if family in ("mobile-sam", "sam-hq-tiny"):
        encoder = TinyVit(image, side, early=fine)
    else:
        encoder = Vit(image, early=fine)
    side = encoder.frame
    grid = (side // 16, side // 16)
    prompts = SamPromptEncoder(state.at("prompt_encoder"), side)
    kind = HqDecoder if fine else SamDecoder
    return Parts(
        encoder=HqEncoder(encoder, decoder) if fine else encoder,
        prompts=prompts,
        decoder=kind(decoder, prompts.position(grid), prompts.no_mask),
        frame=LongestSide(side),
        grid=grid,
        dense=prompts.dense,
    )
