"""SAM 2's image encoder: Hiera, and a feature pyramid that brings its maps together as the decoder takes them.

Hiera attends in windows, at four resolutions ("Hiera", 2023; "Window attention is bugged", 2023). The first block of a
stage pools its queries, so that it answers at half the resolution. Windows that stick out of the map are completed with
what zero features project to, as the published model has it; only real positions are projected.

All of the pyramid's convolutions are 1×1, and the decoder's own on its finer maps follow them with nothing between, so
each pair of them is one matrix product. What SAM 2 adds to an image that no memory belongs to is added once here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam2.plugin import Layout
from samovar_plugins.toolkit import (
    Linear,
    Norm,
    PackedLinear,
    StateDict,
    residual_mlp,
    window_partition,
    window_unpartition,
)

__all__ = ["Hiera", "Sam2Encoder", "Trunk"]

PATCH = 4
"""Pixels from one position of the finest map to the next."""


@dataclass(frozen=True)
class _Block:
    norm1: Norm
    norm2: Norm
    qkv: PackedLinear
    out: PackedLinear
    lin1: PackedLinear
    lin2: PackedLinear
    shortcut: PackedLinear | None  # where the number of channels changes
    heads: int
    window: int  # 0 for the whole map
    pools: bool

    def __call__(self, x: Tensor) -> Tensor:
        """B×h×w×C → B×h'×w'×C', half as many rows and columns if it pools."""
        normed = self.norm1(x)
        if self.shortcut is not None:
            x = self.shortcut(normed)
            x = _pooled(x) if self.pools else x
        qkv = self.qkv(normed)
        if self.window:
            mixed = window_unpartition(
                self._attend(window_partition(qkv, self.window, self.qkv.bias)), (x.shape[1], x.shape[2])
            )
        else:
            mixed = self._attend(qkv)
        x = x + self.out(mixed)
        return residual_mlp(x, self.norm2, self.lin1, self.lin2)

    def _attend(self, qkv: Tensor) -> Tensor:
        """B×h×w×3C → B×h'×w'×C, within each of the B windows."""
        q, k, v = qkv.chunk(3, -1)
        q = _pooled(q) if self.pools else q
        size = q.shape[1:3]
        q, k, v = (part.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).flatten(2).unflatten(1, size)


class Hiera:
    """From pixels to maps at a 4th, 8th, 16th and 32nd of their resolution.

    Args:
        state: the module's weights under the names of the `sam2` package.
        layout: what they leave open.
        image_size: side in pixels of the square that it takes.
    """

    def __init__(self, state: StateDict, layout: Layout, image_size: int) -> None:
        self.image_size = image_size
        self._patch = state.tensor("patch_embed.proj.weight"), state.tensor("patch_embed.proj.bias")
        self._position = _position(state.float32(), image_size // PATCH).to(state.dtype)
        self._ends = [end - 1 for end in accumulate(layout.stages)]
        self._blocks: list[_Block] = []
        for stage, count in enumerate(layout.stages):
            for index in range(count):
                first = stage > 0 and index == 0
                number = len(self._blocks)
                # A stage's first block still sees the map of the stage before, and windows of that size.
                window = layout.windows[stage - first]
                self._blocks.append(
                    _block(
                        state.at(f"blocks.{number}"),
                        heads=layout.heads << stage,
                        window=0 if number in layout.everywhere else window,
                        pools=first,
                    )
                )

    def __call__(self, images: Tensor) -> list[Tensor]:
        """B×3×S×S normalised pixels → a map B×h×w×C a stage, finest first."""
        x = functional.conv2d(images, *self._patch, stride=PATCH, padding=3).permute(0, 2, 3, 1) + self._position
        maps = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self._ends:
                maps.append(x)
        return maps


def _block(state: StateDict, *, heads: int, window: int, pools: bool) -> _Block:
    return _Block(
        norm1=state.norm("norm1", eps=1e-6),
        norm2=state.norm("norm2", eps=1e-6),
        qkv=PackedLinear(state.linear("attn.qkv")),
        out=PackedLinear(state.linear("attn.proj")),
        lin1=PackedLinear(state.linear("mlp.layers.0")),
        lin2=PackedLinear(state.linear("mlp.layers.1")),
        shortcut=PackedLinear(state.linear("proj")) if state.has("proj.weight") else None,
        heads=heads,
        window=window,
        pools=pools,
    )


def _position(state: StateDict, side: int) -> Tensor:
    """side×side×C: positions of the whole map, and of each place within a window."""
    whole, window = state.tensor("pos_embed"), state.tensor("pos_embed_window")
    enlarged = functional.interpolate(whole, (side, side), mode="bicubic", align_corners=False)
    times = side // window.shape[-1]
    return (enlarged + window.tile(1, 1, times, times))[0].permute(1, 2, 0).contiguous()


def _pooled(x: Tensor) -> Tensor:
    """The largest of each 2×2 positions: B×h×w×C → B×h/2×w/2×C."""
    cells = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return torch.amax(cells, dim=(2, 4))


class Trunk(Protocol):
    """From pixels to maps of several resolutions. Holds weights only."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that it takes."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """B×3×S×S normalised pixels → maps B×h×w×C at a 4th, 8th, 16th and 32nd of the resolution."""


class Sam2Encoder:
    """See `Encoder`: "image" B×C×h×w, "middle" B×C/4×2h×2w and "fine" B×C/8×4h×4w.

    Args:
        trunk: what makes the maps.
        neck: weights of the feature pyramid.
        decoder: weights of the mask decoder, which the finer maps' last convolutions are published with.
        no_memory: 1×1×C, added to "image".
    """

    def __init__(self, trunk: Trunk, neck: StateDict, decoder: StateDict, no_memory: Tensor) -> None:
        self.image_size = trunk.image_size
        self._trunk = trunk
        dtype = neck.dtype
        exact = neck.float32()
        coarsest, image, middle, fine = (exact.linear(f"convs.{index}.conv") for index in range(4))
        self._coarsest = _matrix(coarsest, dtype)
        self._image = _matrix(Linear(image.weight, _bias(image) + no_memory.float().flatten()), dtype)
        exact = decoder.float32()
        self._middle = _chained(middle, exact.linear("conv_s1"), dtype)
        self._fine = _chained(fine, exact.linear("conv_s0"), dtype)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Encoder`."""
        fine, middle, image, coarsest = self._trunk(images)
        top = self._coarsest(coarsest).permute(0, 3, 1, 2)
        upsampled = functional.interpolate(top, scale_factor=2.0, mode="nearest")
        return {
            "image": self._image(image).permute(0, 3, 1, 2) + upsampled,
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
