"""SAM's image encoder: a plain ViT with windowed and global attention and decomposed relative positions (ViTDet, 2022).

Relative positions are added to the scores as a mask of the fused attention kernel, a few image rows of queries at a
time: the scores of a whole 64×64 map against itself would take 64 MiB a head. Windows that stick out of the map are
completed with what zero pixels project to, as the published model has it, but only real pixels are ever projected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.layers import Linear, Norm, State
from samovar_plugins.sam.product import Product, residual_mlp
from samovar_plugins.sam.whole_map import attend_whole_map
from samovar_plugins.sam.windows import cut, join

__all__ = ["Neck", "Vit"]

SCORES = 4 << 20
"""Bytes of attention scores that a CPU works on at a time."""


WHOLE = 1024
"""Positions from which on a map's attention to itself is too large for the fused kernel to be the fastest on a CPU."""


class Neck:
    """From the transformer's channels to the embedding's: two convolutions, each followed by a normalisation."""

    def __init__(self, state: State) -> None:
        self._first = Product(Linear(state.tensor("0.weight").flatten(1), None))
        self._second = state.tensor("2.weight")
        self._norms = state.norm("1", eps=1e-6), state.norm("3", eps=1e-6)

    def __call__(self, x: Tensor) -> Tensor:
        """B×h×w×D → B×C×h×w."""
        x = self._norms[0](self._first(x))
        x = functional.conv2d(x.permute(0, 3, 1, 2), self._second, padding=1)
        return self._norms[1](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Block:
    norm1: Norm
    norm2: Norm
    qkv: Product
    out: Product
    rows: Tensor  # (2·side−1)×D, relative position embeddings along rows
    columns: Tensor
    lin1: Product
    lin2: Product
    heads: int
    side: int  # of the windows; of the map for global attention

    def __call__(self, x: Tensor) -> Tensor:
        """B×h×w×C → B×h×w×C."""
        windows = x.shape[1] != self.side or x.shape[2] != self.side
        qkv = self.qkv(self.norm1(x))
        size = x.shape[1], x.shape[2]
        if windows:
            qkv = cut(qkv, self.side, self.qkv.bias)
        mixed = self._attend(qkv)
        x = x + self.out(join(mixed, size) if windows else mixed)
        return residual_mlp(x, self.norm2, self.lin1, self.lin2)

    def _attend(self, qkv: Tensor) -> Tensor:
        """B×s×s×3C → B×s×s×C, within each of the B windows."""
        count, side = len(qkv), self.side
        q, k, v = qkv.view(count, side * side, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = q.new_empty(count, side, side, self.heads, q.shape[-1])
        if q.device.type == "cpu" and q.dtype == torch.float32 and side**2 >= WHOLE:
            for image, one in product(range(count), range(self.heads)):
                asking, keys, values = (part[image, one].contiguous() for part in (q, k, v))
                read = attend_whole_map(asking, keys, values, self.rows, self.columns)
                out[image, :, :, one] = read.unflatten(0, (side, side))
            return out.flatten(3)
        for at, head, row in self._slices(count, q):
            asked = q[at, head, row.start * side : row.stop * side]
            grid = asked.unflatten(2, (-1, side))
            down = torch.einsum("bhrwc,rkc->bhrwk", grid, self.rows[row])
            along = torch.einsum("bhrwc,wkc->bhrwk", grid, self.columns)
            bias = (down[..., :, None] + along[..., None, :]).flatten(4).flatten(2, 3)
            mixed = functional.scaled_dot_product_attention(asked, k[at, head], v[at, head], attn_mask=bias)
            out[at, row, :, head] = mixed.unflatten(2, (-1, side)).permute(0, 2, 3, 1, 4)
        return out.flatten(3)

    def _slices(self, count: int, q: Tensor) -> Iterator[tuple[slice, slice, slice]]:
        """Windows, heads and rows of queries to attend from at once, within `SCORES` bytes on a CPU."""
        row = self.side**3 * q.element_size()
        room = max(1, (SCORES if q.device.type == "cpu" else 256 * SCORES) // row)
        rows = min(room, self.side)
        heads = min(max(1, room // self.side), self.heads)
        windows = max(1, room // (self.side * self.heads))
        for first in range(0, count, windows):
            for head in range(0, self.heads, heads):
                for start in range(0, self.side, rows):
                    yield (
                        slice(first, min(first + windows, count)),
                        slice(head, head + heads),
                        slice(start, min(start + rows, self.side)),
                    )


class Vit:
    """The encoder. Sizes follow from the shapes of the weights.

    Args:
        state: the module's weights under the names of the `segment-anything` package.
        early: also give "early", B×D×h×w: the features after the first global attention.
    """

    def __init__(self, state: State, *, early: bool = False) -> None:
        self._early = early
        patch = state.linear("patch_embed.proj")
        self.patch = patch.weight.shape[-1]
        self._embed = Product(Linear(patch.weight.flatten(1), patch.bias))
        self._position = state.tensor("pos_embed")
        self.side = self._position.shape[1]
        self._blocks = [_block(state.at(f"blocks.{index}")) for index in range(state.count("blocks"))]
        self._first_global = next(
            (index for index, block in enumerate(self._blocks) if block.side == self.side), len(self._blocks) - 1
        )
        self._neck = Neck(state.at("neck"))

    @property
    def frame(self) -> int:
        """Side in pixels of the square that it takes."""
        return int(self.patch * self.side)

    def __call__(self, frames: Tensor) -> dict[str, Tensor]:
        """B×3×S×S normalised pixels → "image" B×C×h×w, and "early" if asked for."""
        count, side, patch = len(frames), self.side, self.patch
        cells = frames.view(count, 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        x = self._embed(cells.reshape(count, side, side, -1)) + self._position
        early = x
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index == self._first_global:
                early = x
        image = {"image": self._neck(x)}
        return {**image, "early": early.permute(0, 3, 1, 2)} if self._early else image


def _block(state: State) -> _Block:
    attention, mlp = state.at("attn"), state.at("mlp")
    rows, columns = attention.tensor("rel_pos_h"), attention.tensor("rel_pos_w")
    side = (len(rows) + 1) // 2
    # index[i, j] = i − j + side − 1: how far key j lies from query i.
    index = torch.arange(side)[:, None] - torch.arange(side)[None] + side - 1
    qkv = attention.linear("qkv")
    return _Block(
        norm1=state.norm("norm1", eps=1e-6),
        norm2=state.norm("norm2", eps=1e-6),
        qkv=Product(qkv),
        out=Product(attention.linear("proj")),
        rows=rows[index.to(rows.device)],
        columns=columns[index.to(rows.device)],
        lin1=Product(mlp.linear("lin1")),
        lin2=Product(mlp.linear("lin2")),
        heads=qkv.weight.shape[1] // rows.shape[1],
        side=side,
    )
