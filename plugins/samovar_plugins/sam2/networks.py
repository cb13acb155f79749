"""The parts of SAM 2 from its weights."""

from __future__ import annotations

from samovar_plugins.sam.encoding import Squeezed
from samovar_plugins.sam.layers import State
from samovar_plugins.sam.prompts import SamPromptEncoder
from samovar_plugins.sam.segmenter import Parts
from samovar_plugins.sam2.decoder import Sam2Decoder
from samovar_plugins.sam2.encoder import Sam2Encoder, Trunk
from samovar_plugins.sam2.hiera import Hiera
from samovar_plugins.sam2.layout import Layout

__all__ = ["FRAME", "build", "build_around"]

FRAME = 1024
"""Side in pixels of the square that the published models take."""

LIMIT = 32.0
"""Published predictors hand out logits between −32 and 32."""


def build(layout: Layout, state: State, frame: int = FRAME) -> Parts:
    """The parts of a model whose encoder is a Hiera of that layout.

    Args:
        layout: what the weights leave open.
        state: under the names of Meta's checkpoints.
        frame: side of the encoder's square.
    """
    return build_around(Hiera(state.at("image_encoder.trunk"), layout, frame), state)


def build_around(trunk: Trunk, state: State) -> Parts:
    """The parts of a model that has SAM 2's neck, prompt encoder and decoder around another trunk."""
    grid = (trunk.frame // 16, trunk.frame // 16)
    decoder = state.at("sam_mask_decoder")
    prompts = SamPromptEncoder(state.at("sam_prompt_encoder"), trunk.frame, padded=True)
    return Parts(
        encoder=Sam2Encoder(trunk, state.at("image_encoder.neck"), decoder, state.exactly().tensor("no_mem_embed")),
        prompts=prompts,
        decoder=Sam2Decoder(decoder, prompts.position(grid), prompts.no_mask),
        frame=Squeezed(trunk.frame, antialias=True, mode="bilinear"),
        grid=grid,
        dense=prompts.dense,
        limit=LIMIT,
    )
