"""Attention of a whole map to itself with decomposed relative positions, on a CPU.

The fused kernel of torch takes the positions as a mask of the size of the scores, which then has to be made, and works
in blocks that are small for a CPU. Here the scores of a few image rows of queries at a time are a plain product with
the keys, and the positions are added to them in place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from samovar_plugins.sam.layers import Linear
from samovar_plugins.sam.product import Product

__all__ = ["attend_whole_map"]

SCORES = 1 << 20
"""Bytes of scores that are worked on at a time: they fit the second-level cache of current processors."""


def attend_whole_map(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """What each position reads, s²×D, from one head's queries, keys and values s²×D.

    Args:
        rows, columns: s×s×D, what a query is multiplied by for keys in each row or column, by its own row or column.
    """
    side = len(rows)
    keys, values = Product(Linear(k * k.shape[1] ** -0.5, None)), Product(Linear(v.t(), None))
    grid = q.unflatten(0, (side, side))
    down = torch.einsum("rwc,rkc->rwk", grid, rows)
    along = torch.einsum("rwc,wkc->rwk", grid, columns)
    step = max(1, SCORES // (side**3 * q.element_size()))
    read = torch.empty_like(q).unflatten(0, (side, side))
    for start in range(0, side, step):
        part = slice(start, start + step)
        scores = keys(grid[part].flatten(0, 1))
        placed = scores.view(-1, side, side, side)
        placed += down[part][..., :, None]
        placed += along[part][..., None, :]
        read[part] = values(torch.softmax(scores, -1)).unflatten(0, (-1, side))
    return read.flatten(0, 1)
