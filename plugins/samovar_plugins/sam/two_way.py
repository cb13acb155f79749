"""SAM's two-way transformer: a prompt's tokens and the image's positions attend to each other.

The first layer sees the same image for every prompt, so its projections of the image are made once (`Shared`) and all
prompts of the image use them. The layers after it fold projections onto the tokens (see `attention`). A CPU that is
asked many prompts of an image does without ever making the image as each of them sees it (see `low_rank`). On a CPU
the image-sized work goes prompt by prompt, so that it stays in the cache, while the token-sized work is done for a
whole chunk of prompts at once; on a GPU both are done for the whole chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samovar_plugins.sam.attention import Attention, SharedKeys
from samovar_plugins.sam.layers import Activation, Linear, Mlp, Norm, State, relu_
from samovar_plugins.sam.low_rank import LowRank, LowRankSeen, Tables
from samovar_plugins.sam.product import Product
from samovar_plugins.sam.seen import ImageSide, Seen, WholeSeen

__all__ = ["Shared", "TwoWayTransformer"]


@dataclass(frozen=True)
class Shared:
    """What all prompts of one image have in common.

    Attributes:
        image: L×C, the image embedding with the dense prompt added.
        first: the image's side of the first layer.
        size: rows and columns, L = rows · columns.
        tables: what makes each of many prompts cheaper, if there will be many.
    """

    image: Tensor
    first: SharedKeys
    size: tuple[int, int]
    tables: Tables | None


@dataclass(frozen=True)
class _Layer:
    """The tokens' side of a layer."""

    mix: Attention
    mlp: Mlp
    norms: tuple[Norm, Norm, Norm]


class TwoWayTransformer:
    """From tokens (N×T×C) and a `Shared` image to updated tokens and the image as each prompt sees it.

    Args:
        state: the module's weights, under the names of the `segment-anything` package.
        position: L×C, positional encoding of each position of the image.
        onwards: what the image is multiplied by afterwards.
        activation: of the token MLPs.
        residual_first: whether the first self-attention is added to its input and positions enter the later ones'
            values and residual (EfficientSAM), rather than replacing it and entering only keys and queries (SAM).
        mlp_keys: names of the two layers of the token MLPs.
        heads: of every attention.
    """

    def __init__(
        self,
        state: State,
        position: Tensor,
        onwards: Linear,
        *,
        activation: Activation = relu_,
        residual_first: bool = False,
        mlp_keys: tuple[str, ...] = ("lin1", "lin2"),
        heads: int = 8,
    ) -> None:
        self._residual_first = residual_first
        layers = [state.at(f"layers.{index}") for index in range(state.count("layers"))]
        self._layers = tuple(
            _Layer(
                mix=Attention.of(layer.at("self_attn"), heads),
                mlp=layer.mlp("mlp", activation, mlp_keys),
                norms=(layer.norm("norm1"), layer.norm("norm2"), layer.norm("norm3")),
            )
            for layer in layers
        )
        reads = [layer.at("cross_attn_token_to_image") for layer in layers] + [state.at("final_attn_token_to_image")]
        writes = [layer.at("cross_attn_image_to_token") for layer in layers]
        self._side = ImageSide(
            reads=tuple(Attention.of(read, heads) for read in reads),
            writes=tuple(Attention.of(write, heads) for write in writes),
            norms=tuple(layer.norm("norm4") for layer in layers),
            position=position.to(state.dtype),
            onwards=Product(onwards),
        )
        self._low_rank = LowRank(self._side, onwards)
        self._last_norm = state.norm("norm_final_attn")

    def share(self, image: Tensor, size: tuple[int, int], *, many: bool) -> Shared:
        """The part of the work that depends on the L×C image alone; more of it for `many` prompts."""
        positioned = image + self._side.position
        read, write = self._side.reads[0], self._side.writes[0]
        keys = SharedKeys(*read.share_read(positioned, image), write.share_write(positioned))
        cheaper = many and image.device.type == "cpu" and image.dtype in (torch.float32, torch.float64)
        return Shared(image, keys, size, self._low_rank.tables(image) if cheaper else None)

    def __call__(self, shared: Shared, tokens: Tensor, kept: Sequence[int]) -> tuple[Tensor, list[Seen]]:
        """Answers for the tokens at `kept` (N×K×C), and the image as each of equally many prompts sees it.

        Args:
            shared: one image.
            tokens: N×T×C, output tokens first, then the prompt's.
            kept: positions of the tokens whose answers are wanted.
        """
        step = 1 if tokens.device.type == "cpu" else len(tokens)
        parts = [slice(start, start + step) for start in range(0, len(tokens), step)]
        queries, images = tokens, [self._seen(shared, tokens[part]) for part in parts]
        for number, layer in enumerate(self._layers):
            queries = layer.norms[0](self._mix(layer, queries, tokens, first=number == 0))
            asked = queries + tokens
            if number == 0:
                read = self._side.reads[0].read_shared(asked, shared.first)
            else:
                read = torch.cat([image.read(number, asked[at]) for at, image in zip(parts, images)])
            queries = layer.norms[1](queries + read)
            queries = layer.norms[2](queries + layer.mlp(queries))
            asked = queries + tokens
            for at, image in zip(parts, images):
                image.write(number, asked[at], queries[at])
        queries, tokens = (torch.stack([rows[:, place] for place in kept], 1) for rows in (queries, tokens))
        asked = queries + tokens
        read = torch.cat([image.read(len(self._layers), asked[at]) for at, image in zip(parts, images)])
        return self._last_norm(queries + read), images

    def _seen(self, shared: Shared, tokens: Tensor) -> Seen:
        """The image as it is for n×T×C tokens that have not written to it yet."""
        if shared.tables is not None and self._low_rank.fits(tokens):
            return LowRankSeen(self._low_rank, shared.tables, shared.first)
        return WholeSeen(self._side, shared.image.expand(len(tokens), -1, -1), shared.first)

    def _mix(self, layer: _Layer, queries: Tensor, tokens: Tensor, *, first: bool) -> Tensor:
        """Self-attention among the tokens."""
        if self._residual_first:
            queries = queries if first else queries + tokens
            return queries + layer.mix.among(queries, queries, queries)
        if first:
            return layer.mix.among(queries, queries, queries)
        placed = queries + tokens
        return queries + layer.mix.among(placed, placed, queries)
