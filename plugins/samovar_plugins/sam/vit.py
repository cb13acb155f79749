"""SAM's image encoder: a plain ViT with windowed and global attention and decomposed relative positions (ViTDet, 2022).

Relative positions are added to the scores as a mask of the fused attention kernel, a few image rows of queries at a
time: the scores of a whole 64×64 map against itself would take 64 MiB a head. Windows that stick out of the map are
completed with what zero pixels project to, as the published model has it, but only real pixels are ever projected.

That mask has to be made, though, and the kernel works in blocks that are small for a CPU. So there a whole map attends
to itself by plain products, to whose scores the positions are added in place (`attend_whole_map`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.toolkit import (
    Linear,
    Neck,
    Norm,
    PackedLinear,
    PatchEmbed,
    StateDict,
    residual_mlp,
    window_partition,
    window_unpartition,
)

__all__ = ["Vit", "attend_whole_map"]

SCORES = 4 << 20
"""Bytes of attention scores that a CPU works on at a time."""

WHOLE = 1024
"""Positions from which on a map's attention to itself is too large for the fused kernel to be the fastest on a CPU."""

WHOLE_SCORES = 1 << 20
"""Bytes of scores that are worked on at a time: they fit the second-level cache of current processors."""


@dataclass(frozen=True)
class _Block:
    norm1: Norm
    norm2: Norm
    qkv: PackedLinear
    out: PackedLinear
    rows: Tensor  # (2·side−1)×D, relative position embeddings along rows
    columns: Tensor
    lin1: PackedLinear
    lin2: PackedLinear
    heads: int
    side: int  # of the windows; of the map for global attention

    def __call__(self, x: Tensor) -> Tensor:
        """B×h×w×C → B×h×w×C."""
        windows = x.shape[1] != self.side or x.shape[2] != self.side
        qkv = self.qkv(self.norm1(x))
        size = x.shape[1], x.shape[2]
        if windows:
            qkv = window_partition(qkv, self.side, self.qkv.bias)
        mixed = self._attend(qkv)
        x = x + self.out(window_unpartition(mixed, size) if windows else mixed)
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

    def __init__(self, state: StateDict, *, early: bool = False) -> None:
        self._early = early
        self._embed = PatchEmbed(state.at("patch_embed"))
        self._position = state.tensor("pos_embed")
        side = self._position.shape[1]
        self.image_size = int(self._embed.size * side)
        self._blocks = [_block(state.at(f"blocks.{index}")) for index in range(state.count("blocks"))]
        whole = (index for index, block in enumerate(self._blocks) if block.side == side)
        self._first_global = next(whole, len(self._blocks) - 1)
        self._neck = Neck(state.at("neck"))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """B×3×S×S normalised pixels → "image" B×C×h×w, and "early" if asked for."""
        x = early = self._embed(images) + self._position
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index == self._first_global:
                early = x
        image = {"image": self._neck(x)}
        return {**image, "early": early.permute(0, 3, 1, 2)} if self._early else image


def _block(state: StateDict) -> _Block:
    attention, mlp = state.at("attn"), state.at("mlp")
    rows, columns = attention.tensor("rel_pos_h"), attention.tensor("rel_pos_w")
    side = (len(rows) + 1) // 2
    # index[i, j] = i − j + side − 1: how far key j lies from query i.
    index = torch.arange(side)[:, None] - torch.arange(side)[None] + side - 1
    qkv = attention.linear("qkv")
    return _Block(
        norm1=state.norm("norm1", eps=1e-6),
        norm2=state.norm("norm2", eps=1e-6),
        qkv=PackedLinear(qkv),
        out=PackedLinear(attention.linear("proj")),
        rows=rows[index.to(rows.device)],
        columns=columns[index.to(rows.device)],
        lin1=PackedLinear(mlp.linear("lin1")),
        lin2=PackedLinear(mlp.linear("lin2")),
        heads=qkv.weight.shape[1] // rows.shape[1],
        side=side,
    )


def attend_whole_map(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """What each position reads, s²×D, from one head's queries, keys and values s²×D.

    Args:
        rows, columns: s×s×D, what a query is multiplied by for keys in each row or column, by its own row or column.
    """
    side = len(rows)
    keys, values = PackedLinear(Linear(k * k.shape[1] ** -0.5, None)), PackedLinear(Linear(v.t(), None))
    grid = q.unflatten(0, (side, side))
    down = torch.einsum("rwc,rkc->rwk", grid, rows)
    along = torch.einsum("rwc,wkc->rwk", grid, columns)
    step = max(1, WHOLE_SCORES // (side**3 * q.element_size()))
    read = torch.empty_like(q).unflatten(0, (side, side))
    for start in range(0, side, step):
        part = slice(start, start + step)
        scores = keys(grid[part].flatten(0, 1))
        placed = scores.view(-1, side, side, side)
        placed += down[part][..., :, None]
        placed += along[part][..., None, :]
        read[part] = values(torch.softmax(scores, -1)).unflatten(0, (-1, side))
    return read.flatten(0, 1)
