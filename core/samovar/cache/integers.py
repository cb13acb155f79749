"""8-bit integers for float tensors: a scale and a zero for every stretch of a channel.

    value = (integer + zero) × scale        zero is a whole number, so that this rounds once, on every device alike

Channels of an encoder differ by orders of magnitude, and many vary little around a mean of their own: with one scale
for all, or with none of them moved to its zero, most of the 256 steps would go unused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "Integers", "scales_shape", "to_integers"]

BLOCK = 256
"""Values that share a scale and a zero, at most: 8 bytes for 256."""


@dataclass(frozen=True)
class Integers:
    """Values as 8-bit integers.

    Attributes:
        values: int8, of the tensor's shape.
        scales: 2×C×B float32: scale and zero of each of B stretches in each of C channels. A stretch is `BLOCK` values
            (the last may be shorter) of what remains of the tensor, in C order, when the channel's axis is taken out.
        axis: of the channels; None where the whole tensor counts as one channel.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int | None

    def restore(self) -> NDArray[np.float32]:
        """float32 of the tensor's shape, C-contiguous."""
        rows, moved = _rows(self.values, self.axis)
        blocks = _blocks(rows.astype(np.float32))
        blocks += self.scales[1, :, :, None]
        blocks *= self.scales[0, :, :, None]
        return _whole(blocks, rows.shape[1], moved, self.axis)


def scales_shape(shape: tuple[int, ...], axis: int | None) -> tuple[int, int, int]:
    """Of the scales that a tensor of that shape has. Raises IndexError for an axis that there is not."""
    channels = 1 if axis is None else shape[axis]
    return 2, channels, -(-(math.prod(shape) // max(channels, 1)) // BLOCK)


def to_integers(array: NDArray[np.float32]) -> Integers | None:
    """Finite float32 `array` as integers, with channels along whichever axis loses least; None for a tiny one."""
    best: Integers | None = None
    lowest = np.inf
    for axis in (*range(array.ndim), None):
        rows, _ = _rows(array, axis)
        channels, length = rows.shape
        if 8 * channels * -(-length // BLOCK) > array.size // 4:
            continue  # the scales would take more than they save
        found = _along(array, axis)
        loss = float(np.square(found.restore() - array, dtype=np.float64).sum())
        if loss < lowest:
            best, lowest = found, loss
    return best


def _along(array: NDArray[np.float32], axis: int | None) -> Integers:
    rows, moved = _rows(array, axis)
    blocks = _blocks(rows)
    low, high = blocks.min(axis=2), blocks.max(axis=2)
    middle = low / 2 + high / 2
    # Steps finer than float32 has around the middle would be lost in (integer + zero).
    scale = np.maximum((high / 254 - low / 254), np.abs(middle) * np.float32(2.0**-22))
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, np.float32(1)).astype(np.float32)
    zero = np.rint(middle / scale).astype(np.float32)
    integers = np.clip(np.rint(blocks / scale[:, :, None]) - zero[:, :, None], -128, 127).astype(np.int8)
    return Integers(_whole(integers, rows.shape[1], moved, axis), np.stack([scale, zero]), axis)


def _rows(array: NDArray[Any], axis: int | None) -> tuple[NDArray[Any], tuple[int, ...]]:
    """`array` as channels × values, and its shape with the channels' axis in front."""
    moved = array[None] if axis is None else np.moveaxis(array, axis, 0)
    return moved.reshape(moved.shape[0], -1), moved.shape


def _blocks(rows: NDArray[Any]) -> NDArray[Any]:
    """Channels × stretches × values; the last stretch filled up with its last value."""
    block = min(BLOCK, rows.shape[1])
    missing = -rows.shape[1] % block
    padded = np.pad(rows, ((0, 0), (0, missing)), mode="edge") if missing else rows
    return padded.reshape(rows.shape[0], -1, block)


def _whole(blocks: NDArray[Any], length: int, moved: tuple[int, ...], axis: int | None) -> NDArray[Any]:
    """The inverse of `_blocks` and `_rows`."""
    shaped = blocks.reshape(blocks.shape[0], -1)[:, :length].reshape(moved)
    return np.ascontiguousarray(shaped[0] if axis is None else np.moveaxis(shaped, 0, axis))
