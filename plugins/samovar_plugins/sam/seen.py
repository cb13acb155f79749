"""The image as prompts see it: they read it, write to it, and in the end masks are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

from torch import Tensor

from samovar_plugins.sam.attention import Attention, SharedKeys
from samovar_plugins.sam.layers import Norm
from samovar_plugins.sam.product import Product

__all__ = ["ImageSide", "Seen", "WholeSeen"]


@dataclass(frozen=True)
class ImageSide:
    """What the image goes through in a two-way transformer of S layers.

    Attributes:
        reads: S+1, by which tokens read it: each layer's, and the one after the last layer.
        writes: S, by which tokens write to it.
        norms: S, after each writing.
        position: L×C, positional encoding of each position.
        onwards: C×out, by which masks are made of it.
    """

    reads: tuple[Attention, ...]
    writes: tuple[Attention, ...]
    norms: tuple[Norm, ...]
    position: Tensor
    onwards: Product


class Seen(Protocol):
    """An image as n prompts see it, which each layer's writing changes."""

    def read(self, layer: int, tokens: Tensor) -> Tensor:
        """What n×T×C tokens read from it."""

    def write(self, layer: int, tokens: Tensor, values: Tensor) -> None:
        """Have n×T×C tokens write their values to it."""

    def onwards(self, start: int, stop: int) -> Tensor:
        """n×(stop−start)×out: its positions start … stop−1, multiplied by what masks are made of."""


@final
class WholeSeen:
    """A `Seen` that is made, n×L×C.

    Args:
        side: the model's.
        image: n×L×C.
        first: the image's side of the first layer, made once for all prompts.
    """

    def __init__(self, side: ImageSide, image: Tensor, first: SharedKeys) -> None:
        self._side = side
        self._image = image
        self._first = first

    def read(self, layer: int, tokens: Tensor) -> Tensor:
        """See `Seen`."""
        return self._side.reads[layer].read(tokens, self._image + self._side.position, self._image)

    def write(self, layer: int, tokens: Tensor, values: Tensor) -> None:
        """See `Seen`."""
        attention = self._side.writes[layer]
        if layer == 0:
            written = attention.write_shared(self._image, tokens, values, self._first)
        else:
            written = attention.write(self._image, self._image + self._side.position, tokens, values)
        self._image = self._side.norms[layer](written)

    def onwards(self, start: int, stop: int) -> Tensor:
        """See `Seen`."""
        return self._side.onwards(self._image[:, start:stop])
