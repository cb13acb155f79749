"""SAM 2's image encoder: maps of a trunk, brought together by a feature pyramid, as the decoder takes them.

All of the pyramid's convolutions are 1×1, and the decoder's own on its finer maps follow them with nothing between, so
each pair of them is one matrix product. What SAM 2 adds to an image that no memory belongs to is added once here.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.layers import Linear, State

__all__ = ["Sam2Encoder", "Trunk"]


class Trunk(Protocol):
    """From pixels to maps of several resolutions. Holds weights only."""

    @property
    def frame(self) -> int:
        """Side in pixels of the square that it takes."""

    def __call__(self, frames: Tensor) -> list[Tensor]:
        """B×3×S×S normalised pixels → maps B×h×w×C at a 4th, 8th, 16th and 32nd of the resolution."""


class Sam2Encoder:
    """See `Encoder`: "image" B×C×h×w, "middle" B×C/4×2h×2w and "fine" B×C/8×4h×4w.

    Args:
        trunk: what makes the maps.
        neck: weights of the feature pyramid.
        decoder: weights of the mask decoder, which the finer maps' last convolutions are published with.
        no_memory: 1×1×C, added to "image".
    """

    def __init__(self, trunk: Trunk, neck: State, decoder: State, no_memory: Tensor) -> None:
        self.frame = trunk.frame
        self._trunk = trunk
        dtype = neck.dtype
        exact = neck.exactly()
        coarsest, image, middle, fine = (exact.linear(f"convs.{index}.conv") for index in range(4))
        self._coarsest = _matrix(coarsest, dtype)
        self._image = _matrix(Linear(image.weight, _bias(image) + no_memory.float().flatten()), dtype)
        exact = decoder.exactly()
        self._middle = _chained(middle, exact.linear("conv_s1"), dtype)
        self._fine = _chained(fine, exact.linear("conv_s0"), dtype)

    def __call__(self, frames: Tensor) -> dict[str, Tensor]:
        """See `Encoder`."""
        fine, middle, image, coarsest = self._trunk(frames)
        top = self._coarsest(coarsest).permute(0, 3, 1, 2)
        enlarged = functional.interpolate(top, scale_factor=2.0, mode="nearest")
        return {
            "image": self._image(image).permute(0, 3, 1, 2) + enlarged,
            "middle": self._middle(middle).permute(0, 3, 1, 2),
            "fine": self._fine(fine).permute(0, 3, 1, 2),
        }


def _bias(layer: Linear) -> Tensor:
    return layer.bias if layer.bias is not None else layer.weight.new_zeros(len(layer.weight))


def _matrix(layer: Linear, dtype: torch.dtype) -> Linear:
    """A 1×1 convolution as a matrix, for maps with the channels last."""
    return Linear(layer.weight.flatten(1).to(dtype), _bias(layer).to(dtype))


def _chained(first: Linear, second: Linear, dtype: torch.dtype) -> Linear:
    """Two 1×1 convolutions, one after the other, as one matrix."""
    weight = second.weight.flatten(1).double()
    chained = weight @ first.weight.flatten(1).double()
    bias = weight @ _bias(first).double() + _bias(second).double()
    return Linear(chained.to(dtype), bias.to(dtype))
