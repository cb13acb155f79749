"""From the image as a prompt sees it to mask logits: two transposed convolutions and a product with the mask token.

A transposed convolution of stride 2 and kernel 2 is one matrix product per position, so nothing is laid out as a map
before the last step. A CPU does it for a few hundred positions at a time: all intermediate results stay in its cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.layers import Linear, Norm, State, gelu_
from samovar_plugins.sam.product import Product
from samovar_plugins.sam.seen import Seen

__all__ = ["Skips", "Upscaler", "as_map", "as_rows"]

TILE = 1024
"""Positions done at a time on a CPU: their features take 2 MiB."""


@dataclass(frozen=True)
class Skips:
    """High-resolution features of the image that are added on the way up (SAM 2), as `as_rows` orders them.

    Attributes:
        middle: L×(4·C₁), added before the normalisation.
        last: L×(16·C₂), added before the last activation.
    """

    middle: Tensor
    last: Tensor


def _deconvolution(state: State) -> Linear:
    """…×in → …×4·out, the four being the rows and columns of the kernel."""
    weight, bias = state.tensor("weight"), state.tensor("bias")
    return Linear(weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), bias.repeat(4))


class Upscaler:
    """Four times the rows and columns.

    Args:
        first, last: weights of the two transposed convolutions.
        norm: the normalisation between them: over channels, or over the whole map if `whole`.
        whole: see `norm` (EfficientSAM).

    Attributes:
        first: the first of the two, C×4C₁, by which the image has been multiplied when it gets here.
    """

    def __init__(self, first: State, norm: Norm, last: State, *, whole: bool = False) -> None:
        self.first = _deconvolution(first)
        self._norm = norm
        self._last = Product(_deconvolution(last))
        self._whole = whole

    def features(self, x: Tensor, skips: Skips | None = None) -> Tensor:
        """N×L×4C₁, which may be overwritten → N×(16·L)×C₂, in the order of `as_map`."""
        count, positions = x.shape[:2]
        if skips is not None:
            x += skips.middle
        x = x.unflatten(-1, (4, -1))
        if self._whole:
            x = functional.group_norm(
                x.flatten(1, 2).transpose(1, 2), 1, self._norm.weight, self._norm.bias, self._norm.eps
            )
            x = gelu_(x.transpose(1, 2).contiguous()).unflatten(1, (-1, 4))
        else:
            x = gelu_(self._norm(x))
        x = self._last(x)
        if skips is not None:
            x += skips.last.unflatten(-1, (4, -1))
        return gelu_(x).reshape(count, 16 * positions, -1)

    def __call__(self, image: Seen, tokens: Tensor, size: tuple[int, int], skips: Skips | None = None) -> Tensor:
        """Logits N×M×4h×4w of mask tokens N×M×C₂ on the image, as N prompts see it, of `size` h, w."""
        positions = size[0] * size[1]
        tile = positions if self._whole or tokens.device.type != "cpu" else TILE
        logits = tokens.new_empty(*tokens.shape[:2], 16 * positions)
        for start in range(0, positions, tile):
            stop = min(start + tile, positions)
            part = None if skips is None else Skips(skips.middle[start:stop], skips.last[start:stop])
            features = self.features(image.onwards(start, stop), part)
            logits[..., 16 * start : 16 * stop] = torch.bmm(tokens, features.transpose(1, 2))
        return as_map(logits, size)


def as_map(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """N×M×(16·L) → N×M×4h×4w: undo the order y, x, then row and column within it, then within that."""
    cells = rows.unflatten(-1, (*size, 2, 2, 2, 2))
    return cells.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*rows.shape[:2], 4 * size[0], 4 * size[1])


def as_rows(features: Tensor, size: tuple[int, int]) -> Tensor:
    """C×2h×2w or C×4h×4w features of an image of `size` h, w → L×4C or L×16C, in the order that `Skips` needs."""
    height, width = size
    if features.shape[1] == 2 * height:
        cells = features.unflatten(1, (height, 2)).unflatten(3, (width, 2))
        return cells.permute(1, 3, 2, 4, 0).reshape(height * width, -1)
    cells = features.unflatten(1, (height, 2, 2)).unflatten(4, (width, 2, 2))
    return cells.permute(1, 4, 2, 5, 3, 6, 0).reshape(height * width, -1)
