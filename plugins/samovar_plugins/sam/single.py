"""One mask's runs by NumPy alone: what the kernel of `outlines` gives, to the last bit, without loading a compiler.

Loading numba and the kernel takes longer than answering a click does. Here the same sums are formed in the same order,
for all pixels of mixed cells at once. That takes a byte for each pixel of the image, and tens of bytes for each pixel
of a mixed cell, so it is for images and boundaries of ordinary size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar_plugins.sam.enlarge import Axis, Enlargement

__all__ = ["outline_one"]

IMAGE, MIXED = 1 << 25, 1 << 20
"""Pixels of an image, and of its mixed cells, at most."""


def outline_one(
    logits: NDArray[np.float32], enlargement: Enlargement, threshold: float, excess: np.float32
) -> NDArray[np.uint32] | None:
    """The runs of the mask that h×w logits are above `threshold`, once enlarged; None where that is much work.

    Args:
        excess: by how much of the spread of a cell's logits its pixels may lie beyond them.
    """
    rows, columns = enlargement.rows, enlargement.columns
    tall, wide = np.diff(rows.first), np.diff(columns.first)
    if len(rows.starts) * len(columns.starts) > IMAGE:
        return None
    limit = np.float32(threshold)
    low, high = (_cells(logits, least, rows, columns) for least in (np.minimum, np.maximum))
    slack = excess * (high - low)
    if limit != 0:
        slack += np.float32(1e-5) * (np.maximum(high, -low) + abs(limit))
    on = low - slack > limit
    y, x = np.nonzero(~(on | (high + slack <= limit)))
    if int((tall[y] * wide[x]).sum()) > MIXED:
        return None
    mask = np.repeat(np.repeat(on.T, wide, axis=0), tall, axis=1)  # column by column, as runs go
    # First down, for every row of pixels in a mixed cell and the logits that its columns need; then across.
    cell, row = _spread(rows.first, y)
    x = x[cell]
    line = np.zeros((len(row), columns.weights.shape[1]), np.float32)
    for k in range(rows.weights.shape[1]):
        weights = rows.weights[row, k]
        for j in range(line.shape[1]):
            line[:, j] += weights * logits[rows.starts[row] + k, x + j]
    owner, column = _spread(columns.first, x)
    value = np.zeros(len(column), np.float32)
    for k in range(line.shape[1]):
        value += columns.weights[column, k] * line[owner, k]
    mask[column, row[owner]] = value > limit
    return _runs(mask.reshape(-1))


def _cells(logits: NDArray[np.float32], extreme: np.ufunc, rows: Axis, columns: Axis) -> NDArray[np.float32]:
    """The least or the greatest of the logits that each cell takes."""
    found: NDArray[np.float32] = logits
    for axis, taps in enumerate((rows.weights.shape[1], columns.weights.shape[1])):
        count = found.shape[axis] - taps + 1
        found = extreme.reduce([found.take(range(k, k + count), axis) for k in range(taps)])
    return found


def _spread(first: NDArray[np.int32], cells: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For every pixel along one axis of each of the cells in turn: the cell's place in `cells`, and the pixel."""
    lengths = first[cells + 1] - first[cells]
    owner = np.repeat(np.arange(len(cells)), lengths)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, first[cells][owner] + within


def _runs(flat: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """The lengths of runs of equal values, the first of them False."""
    flips = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0] if flat[0] else [], flips, [flat.size]])
    return np.diff(ends, prepend=0).astype(np.uint32)
