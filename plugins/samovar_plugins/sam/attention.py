"""Attention between a prompt's few tokens and the image's thousands, without ever projecting the image for a prompt.

With T tokens and L image positions (T ≈ 7, L = 4096), projecting the image's C channels to keys costs L·C·D. But
(x·Wₖ)·q = x·(Wₖᵀ·q): the projection can be folded onto the tokens, which costs L·C per token and head, and the same
goes for values. The key's bias shifts all of a token's scores alike and so drops out of the softmax. Past a certain
number of tokens projecting is the cheaper way, and then it is done. Both ways are algebra: no approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from samovar_plugins.sam.layers import Linear, State
from samovar_plugins.sam.product import multiply

__all__ = ["Attention", "SharedKeys"]


@dataclass(frozen=True)
class SharedKeys:
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
    def of(cls, state: State, heads: int) -> Attention:
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
        return self.out(self.merge(_softmax(q * self.scale @ k.transpose(-1, -2)) @ v))

    def read(self, tokens: Tensor, positioned: Tensor, image: Tensor) -> Tensor:
        """N×T×C tokens read the image: keys are made of `positioned` (N×L×C), values of `image` (N×L×C)."""
        q = self.split(self.q(tokens)) * self.scale
        if self.folds(tokens):
            asked = (q @ self.per_head(self.k.weight)).flatten(1, 2)
            mixed = multiply(_softmax(multiply(asked, positioned)), image.transpose(1, 2))
            read = mixed.unflatten(1, (self.heads, -1)) @ self.per_head(self.v.weight).transpose(1, 2)
            merged = self.merge(read)
            return self.out(merged if self.v.bias is None else merged + self.v.bias)
        k, v = self.split(self.k(positioned)), self.split(self.v(image))
        return self.out(self.merge(_softmax(q @ k.transpose(-1, -2)) @ v))

    def read_shared(self, tokens: Tensor, shared: SharedKeys) -> Tensor:
        """As `read`, of keys and values that were made once for the image."""
        count = tokens.shape[0]
        q = self.split(self.q(tokens)).transpose(0, 1).flatten(1, 2) * self.scale
        read = torch.bmm(_softmax(torch.bmm(q, shared.keys)), shared.values)
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
        weights = _softmax(k @ q.transpose(-1, -2), -2)
        return image + self.out(self.merge(weights.transpose(-1, -2) @ self.split(self.v(values))))

    def write_shared(self, image: Tensor, tokens: Tensor, values: Tensor, shared: SharedKeys) -> Tensor:
        """As `write` on the image (L×C) that `shared` was made of; N×L×C."""
        k = self.split(self.k(tokens)) * self.scale
        scores = (k @ shared.queries).flatten(1, 2)
        return self._spread(image.expand(len(tokens), -1, -1), scores, values)

    def _spread(self, image: Tensor, scores: Tensor, values: Tensor) -> Tensor:
        """`image` plus, at each position, the values of N×T×C tokens weighted by N×(heads·T)×L scores."""
        weights = _softmax(scores.unflatten(1, (self.heads, -1)), 2).flatten(1, 2)
        spread = self.split(self.v(values)) @ self.per_head(self.out.weight.t())
        if self.out.bias is not None:  # each head's weights sum to one, so every head carries its share of the bias
            spread = spread + self.out.bias / self.heads
        return torch.baddbmm(image, weights.transpose(1, 2), spread.flatten(1, 2))

    def folds(self, tokens: Tensor) -> bool:
        """Whether folding the projections onto this many tokens is cheaper than projecting the image."""
        return bool(self.heads * tokens.shape[1] <= self.inner)

    def share_read(self, positioned: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of `SharedKeys`, from L×C tensors."""
        keys = self.split(self.k(positioned)).transpose(-1, -2).contiguous()
        return keys, self.split(self.v(image)).contiguous()

    def share_write(self, positioned: Tensor) -> Tensor:
        """The queries of `SharedKeys`, from an L×C tensor."""
        return self.split(self.q(positioned)).transpose(-1, -2).contiguous()


def _softmax(scores: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(scores, axis)
