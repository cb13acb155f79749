"""Hiera, SAM 2's image encoder: attention in windows, at four resolutions ("Hiera", 2023; "Window attention is
bugged", 2023).

The first block of a stage pools its queries, so that it answers at half the resolution. Windows that stick out of the
map are completed with what zero features project to, as the published model has it; only real positions are projected.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.layers import Norm, State
from samovar_plugins.sam.product import Product, residual_mlp
from samovar_plugins.sam.windows import cut, join
from samovar_plugins.sam2.layout import Layout

__all__ = ["Hiera"]

PATCH = 4
"""Pixels from one position of the finest map to the next."""


@dataclass(frozen=True)
class _Block:
    norm1: Norm
    norm2: Norm
    qkv: Product
    out: Product
    lin1: Product
    lin2: Product
    shortcut: Product | None  # where the number of channels changes
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
            mixed = join(self._attend(cut(qkv, self.window, self.qkv.bias)), (x.shape[1], x.shape[2]))
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
        frame: side in pixels of the square that it takes.
    """

    def __init__(self, state: State, layout: Layout, frame: int) -> None:
        self.frame = frame
        self._patch = state.tensor("patch_embed.proj.weight"), state.tensor("patch_embed.proj.bias")
        self._position = _position(state.exactly(), frame // PATCH).to(state.dtype)
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

    def __call__(self, frames: Tensor) -> list[Tensor]:
        """B×3×S×S normalised pixels → a map B×h×w×C a stage, finest first."""
        x = functional.conv2d(frames, *self._patch, stride=PATCH, padding=3).permute(0, 2, 3, 1) + self._position
        maps = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self._ends:
                maps.append(x)
        return maps


def _block(state: State, *, heads: int, window: int, pools: bool) -> _Block:
    return _Block(
        norm1=state.norm("norm1", eps=1e-6),
        norm2=state.norm("norm2", eps=1e-6),
        qkv=Product(state.linear("attn.qkv")),
        out=Product(state.linear("attn.proj")),
        lin1=Product(state.linear("mlp.layers.0")),
        lin2=Product(state.linear("mlp.layers.1")),
        shortcut=Product(state.linear("proj")) if state.has("proj.weight") else None,
        heads=heads,
        window=window,
        pools=pools,
    )


def _position(state: State, side: int) -> Tensor:
    """side×side×C: positions of the whole map, and of each place within a window."""
    whole, window = state.tensor("pos_embed"), state.tensor("pos_embed_window")
    enlarged = functional.interpolate(whole, (side, side), mode="bicubic", align_corners=False)
    times = side // window.shape[-1]
    return (enlarged + window.tile(1, 1, times, times))[0].permute(1, 2, 0).contiguous()


def _pooled(x: Tensor) -> Tensor:
    """The largest of each 2×2 positions: B×h×w×C → B×h/2×w/2×C."""
    cells = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return torch.amax(cells, dim=(2, 4))
