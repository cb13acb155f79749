"""Attention between a prompt's few tokens and the image's thousands, without ever projecting the image for a prompt.

With T tokens and L image positions (T ≈ 7, L = 4096), projecting the image's C channels to keys costs L·C·D. But
(x·Wₖ)·q = x·(Wₖᵀ·q): the projection can be folded onto the tokens, which costs L·C per token and head, and the same
goes for values. The key's bias shifts all of a token's scores alike and so drops out of the softmax. Past a certain
number of tokens projecting is the cheaper way, and then it is done. Both ways are algebra: no approximation.

`ImageState` is the image as prompts see it: they read it, write to it, and in the end masks are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from samovar_plugins.toolkit.layers import Linear, Norm, PackedLinear, StateDict, multiply

__all__ = [
    "Attention",
    "FullImageState",
    "ImageSide",
    "ImageState",
    "SharedProjections",
]


@dataclass(frozen=True)
class SharedProjections:
    """One image's side of a pair of cross-attentions, common to all its prompts.

    Attributes:
        keys: heads×D×L, what tokens compare themselves with when they read the image.
        values: heads×L×D, what they then read.
        queries: heads×D×L, what the image compares the tokens with when they write to it.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Attention:
    """Multi-head attention by SAM's four projections. `inner` channels, split evenly among `heads`."""

    q: Linear
    k: Linear
    v: Linear
    out: Linear
    heads: int

    @classmethod
    def of(cls, state: StateDict, heads: int) -> Attention:
        """From a module with q_proj, k_proj, v_proj and out_proj."""
        q, k, v, out = (state.linear(f"{name}_proj") for name in ("q", "k", "v", "out"))
        return cls(q, k, v, out, heads)

    @property
    def inner(self) -> int:
        """Channels between the projections."""
        return len(self.q.weight)

    @property
    def scale(self) -> float:
        """What scores are multiplied by."""
        return float((self.inner // self.heads) ** -0.5)

    def split(self, x: Tensor) -> Tensor:
        """…×n×inner → …×heads×n×D."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def merge(self, x: Tensor) -> Tensor:
        """…×heads×n×D → …×n×inner."""
        return x.transpose(-3, -2).flatten(-2)

    def per_head(self, weight: Tensor) -> Tensor:
        """inner×C → heads×D×C."""
        return weight.unflatten(0, (self.heads, -1))

    def among(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Plain attention among N×T×C tokens."""
        q, k, v = self.split(self.q(queries)), self.split(self.k(keys)), self.split(self.v(values))
        return self.out(self.merge(torch.softmax(q * self.scale @ k.transpose(-1, -2), -1) @ v))

    def read(self, tokens: Tensor, positioned: Tensor, image: Tensor) -> Tensor:
        """N×T×C tokens read the image: keys are made of `positioned` (N×L×C), values of `image` (N×L×C)."""
        q = self.split(self.q(tokens)) * self.scale
        if self.folds(tokens):
            asked = (q @ self.per_head(self.k.weight)).flatten(1, 2)
            mixed = multiply(torch.softmax(multiply(asked, positioned), -1), image.transpose(1, 2))
            read = mixed.unflatten(1, (self.heads, -1)) @ self.per_head(self.v.weight).transpose(1, 2)
            merged = self.merge(read)
            return self.out(merged if self.v.bias is None else merged + self.v.bias)
        k, v = self.split(self.k(positioned)), self.split(self.v(image))
        return self.out(self.merge(torch.softmax(q @ k.transpose(-1, -2), -1) @ v))

    def read_shared(self, tokens: Tensor, shared: SharedProjections) -> Tensor:
        """As `read`, of keys and values that were made once for the image."""
        count = tokens.shape[0]
        q = self.split(self.q(tokens)).transpose(0, 1).flatten(1, 2) * self.scale
        read = torch.bmm(torch.softmax(torch.bmm(q, shared.keys), -1), shared.values)
        return self.out(self.merge(read.unflatten(1, (count, -1)).transpose(0, 1)))

    def write(self, image: Tensor, positioned: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
        """`image` (N×L×C) plus what N×T×C tokens write to it; its queries are made of `positioned` (N×L×C)."""
        k = self.split(self.k(tokens)) * self.scale
        if self.folds(tokens):
            offered = (k @ self.per_head(self.q.weight)).flatten(1, 2)
            scores = multiply(offered, positioned)
            if self.q.bias is not None:
                scores += (k * self.q.bias.view(self.heads, 1, -1)).sum(-1).flatten(1, 2)[..., None]
            return self._spread(image, scores, values)
        q = self.split(self.q(positioned))
        # Scores with the tokens first: a softmax along an outer axis is vectorised, one along seven elements is not.
        weights = torch.softmax(k @ q.transpose(-1, -2), -2)
        return image + self.out(self.merge(weights.transpose(-1, -2) @ self.split(self.v(values))))

    def write_shared(self, image: Tensor, tokens: Tensor, values: Tensor, shared: SharedProjections) -> Tensor:
        """As `write` on the image (L×C) that `shared` was made of; N×L×C."""
        k = self.split(self.k(tokens)) * self.scale
        scores = (k @ shared.queries).flatten(1, 2)
        return self._spread(image.expand(len(tokens), -1, -1), scores, values)

    def _spread(self, image: Tensor, scores: Tensor, values: Tensor) -> Tensor:
        """`image` plus, at each position, the values of N×T×C tokens weighted by N×(heads·T)×L scores."""
        weights = torch.softmax(scores.unflatten(1, (self.heads, -1)), 2).flatten(1, 2)
        spread = self.split(self.v(values)) @ self.per_head(self.out.weight.t())
        if self.out.bias is not None:  # each head's weights sum to one, so every head carries its share of the bias
            spread = spread + self.out.bias / self.heads
        return torch.baddbmm(image, weights.transpose(1, 2), spread.flatten(1, 2))

    def folds(self, tokens: Tensor) -> bool:
        """Whether folding the projections onto this many tokens is cheaper than projecting the image."""
        return bool(self.heads * tokens.shape[1] <= self.inner)

    def share_read(self, positioned: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of `SharedProjections`, from L×C tensors."""
        keys = self.split(self.k(positioned)).transpose(-1, -2).contiguous()
        return keys, self.split(self.v(image)).contiguous()

    def share_write(self, positioned: Tensor) -> Tensor:
        """The queries of `SharedProjections`, from an L×C tensor."""
        return self.split(self.q(positioned)).transpose(-1, -2).contiguous()


@dataclass(frozen=True)
class ImageSide:
    """What the image goes through in a two-way transformer of S layers.

    Attributes:
        reads: S+1, by which tokens read it: each layer's, and the one after the last layer.
        writes: S, by which tokens write to it.
        norms: S, after each writing.
        position: L×C, positional encoding of each position.
        output_projection: C×out, by which masks are made of it.
    """

    reads: tuple[Attention, ...]
    writes: tuple[Attention, ...]
    norms: tuple[Norm, ...]
    position: Tensor
    output_projection: PackedLinear


class ImageState(Protocol):
    """An image as n prompts see it, which each layer's writing changes."""

    def read(self, layer: int, tokens: Tensor) -> Tensor:
        """What n×T×C tokens read from it."""

    def write(self, layer: int, tokens: Tensor, values: Tensor) -> None:
        """Have n×T×C tokens write their values to it."""

    def project(self, start: int, stop: int) -> Tensor:
        """n×(stop−start)×out: its positions start … stop−1, through the output projection."""


@final
class FullImageState:
    """A `ImageState` that is made, n×L×C.

    Args:
        side: the model's.
        image: n×L×C.
        first: the image's side of the first layer, made once for all prompts.
    """

    def __init__(self, side: ImageSide, image: Tensor, first: SharedProjections) -> None:
        self._side = side
        self._image = image
        self._first = first

    def read(self, layer: int, tokens: Tensor) -> Tensor:
        """See `ImageState`."""
        return self._side.reads[layer].read(tokens, self._image + self._side.position, self._image)

    def write(self, layer: int, tokens: Tensor, values: Tensor) -> None:
        """See `ImageState`."""
        attention = self._side.writes[layer]
        if layer == 0:
            written = attention.write_shared(self._image, tokens, values, self._first)
        else:
            written = attention.write(self._image, self._image + self._side.position, tokens, values)
        self._image = self._side.norms[layer](written)

    def project(self, start: int, stop: int) -> Tensor:
        """See `ImageState`."""
        return self._side.output_projection(self._image[:, start:stop])
