"""SAM's two-way transformer: a prompt's tokens and the image's positions attend to each other.

The first layer sees the same image for every prompt, so its projections of the image are made once (`Shared`) and all
prompts of the image use them. The layers after it fold projections onto the tokens (see `attention`). Between the two,
the image-sized work of a CPU goes prompt by prompt, so that it stays in the cache, while the token-sized work is done
for a whole chunk of prompts at once; on a GPU both are done for the whole chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samovar_plugins.sam.attention import Attention, SharedKeys
from samovar_plugins.sam.layers import Activation, Mlp, Norm, State, relu_

__all__ = ["Shared", "TwoWayTransformer"]


@dataclass(frozen=True)
class Shared:
    """What all prompts of one image have in common.

    Attributes:
        image: L×C, the image embedding with the dense prompt added.
        position: L×C, positional encoding of each position.
        first: the image's side of the first layer.
        size: rows and columns, L = rows · columns.
    """

    image: Tensor
    position: Tensor
    first: SharedKeys
    size: tuple[int, int]


@dataclass(frozen=True)
class _Layer:
    mix: Attention
    read: Attention
    write: Attention
    mlp: Mlp
    norms: tuple[Norm, Norm, Norm, Norm]


class TwoWayTransformer:
    """From tokens (N×T×C) and a `Shared` image to updated tokens and a per-prompt image.

    Args:
        state: the module's weights, under the names of the `segment-anything` package.
        activation: of the token MLPs.
        residual_first: whether the first self-attention is added to its input and positions enter the later ones'
            values and residual (EfficientSAM), rather than replacing it and entering only keys and queries (SAM).
        mlp_keys: names of the two layers of the token MLPs.
        heads: of every attention.
    """

    def __init__(
        self,
        state: State,
        *,
        activation: Activation = relu_,
        residual_first: bool = False,
        mlp_keys: tuple[str, ...] = ("lin1", "lin2"),
        heads: int = 8,
    ) -> None:
        self._residual_first = residual_first
        self._layers = tuple(
            _layer(state.at(f"layers.{index}"), activation, mlp_keys, heads) for index in range(state.count("layers"))
        )
        self._last = Attention.of(state.at("final_attn_token_to_image"), heads)
        self._last_norm = state.norm("norm_final_attn")

    def share(self, image: Tensor, position: Tensor, size: tuple[int, int]) -> Shared:
        """The part of the work that depends on the image alone. `image` and `position` are L×C."""
        first = self._layers[0]
        positioned = image + position
        keys = SharedKeys(*first.read.share_read(positioned, image), first.write.share_write(positioned))
        return Shared(image, position, keys, size)

    def __call__(self, shared: Shared, tokens: Tensor, kept: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Answers for the tokens at `kept` (N×K×C), and the image as each prompt sees it, in parts n×L×C.

        Args:
            shared: one image.
            tokens: N×T×C, output tokens first, then the prompt's.
            kept: positions of the tokens whose answers are wanted.
        """
        step = 1 if tokens.device.type == "cpu" else len(tokens)
        parts = [slice(start, start + step) for start in range(0, len(tokens), step)]
        queries, images = tokens, [shared.image.expand(step, -1, -1)] * len(parts)
        for number, layer in enumerate(self._layers):
            queries = layer.norms[0](self._mix(layer, queries, tokens, first=number == 0))
            asked = queries + tokens
            if number == 0:
                read = layer.read.read_shared(asked, shared.first)
            else:
                read = torch.cat([layer.read.read(asked[at], x + shared.position, x) for at, x in zip(parts, images)])
            queries = layer.norms[1](queries + read)
            queries = layer.norms[2](queries + layer.mlp(queries))
            asked = queries + tokens
            for index, (at, x) in enumerate(zip(parts, images)):
                if number == 0:
                    written = layer.write.write_shared(shared.image, asked[at], queries[at], shared.first)
                else:
                    written = layer.write.write(x, x + shared.position, asked[at], queries[at])
                images[index] = layer.norms[3](written)
        queries, tokens = (torch.stack([rows[:, place] for place in kept], 1) for rows in (queries, tokens))
        asked = queries + tokens
        read = torch.cat([self._last.read(asked[at], x + shared.position, x) for at, x in zip(parts, images)])
        return self._last_norm(queries + read), images

    def _mix(self, layer: _Layer, queries: Tensor, tokens: Tensor, *, first: bool) -> Tensor:
        """Self-attention among the tokens."""
        if self._residual_first:
            queries = queries if first else queries + tokens
            return queries + layer.mix.among(queries, queries, queries)
        if first:
            return layer.mix.among(queries, queries, queries)
        placed = queries + tokens
        return queries + layer.mix.among(placed, placed, queries)


def _layer(state: State, activation: Activation, mlp_keys: tuple[str, ...], heads: int) -> _Layer:
    return _Layer(
        mix=Attention.of(state.at("self_attn"), heads),
        read=Attention.of(state.at("cross_attn_token_to_image"), heads),
        write=Attention.of(state.at("cross_attn_image_to_token"), heads),
        mlp=state.mlp("mlp", activation, mlp_keys),
        norms=(state.norm("norm1"), state.norm("norm2"), state.norm("norm3"), state.norm("norm4")),
    )
