"""Label Studio's brush masks: RGBA images packed as runs of bytes, bit by bit (the format of @thi.ng/rle-pack).

A header of 57 bits (number of values, 32; bits a value less one, 5; four sizes less one, 4 each), then records: one bit
that says run or literals, two that choose one of the sizes, the length less one in that many bits, and the value or
values. Values are the bytes of a row-major RGBA image of which only the alpha channel says anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samovar.errors import MaskError
from samovar.masks import Masks

__all__ = ["decode", "encode"]

_SIZES = (3, 4, 8, 16)
_HEADER = 57
_CHANNELS = 4


def encode(mask: Masks) -> list[int]:
    """The one mask as Label Studio wants it in `value.rle`: bytes. Raises MaskError unless there is exactly one."""
    if len(mask) != 1:
        raise MaskError(f"a brush region is one mask; got {len(mask)}; index them")
    lengths, values = _runs(mask)
    longest = 1 << _SIZES[-1]
    pieces = -(-lengths // longest)
    values = np.repeat(values, pieces)
    whole = np.full(len(values), longest)
    whole[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * longest
    return np.packbits(np.concatenate([_header(int(lengths.sum())), _records(whole, values)])).tolist()


def decode(rle: Sequence[int], width: int, height: int) -> Masks:
    """The mask in Label Studio's `value.rle`, of a `width`×`height` image; any alpha but 0 is foreground.

    Raises:
        MaskError: torn, or not of an image of that size.
    """
    try:
        packed = np.array(rle, dtype=np.uint8) if len(rle) else np.zeros(0, np.uint8)
    except (TypeError, ValueError, OverflowError) as error:
        raise MaskError(f"a brush region's rle must be a list of bytes; got {str(rle)[:60]}") from error
    if packed.ndim != 1:
        raise MaskError(f"a brush region's rle must be a list of bytes; got {packed.ndim} dimensions")
    alpha = _unpacked(_Bits(packed.tobytes()), width * height * _CHANNELS)[_CHANNELS - 1 :: _CHANNELS]
    return Masks.from_array((alpha > 0).reshape(1, height, width))


def _runs(mask: Masks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths of the row-major runs in bytes of RGBA, and their values, 0 or 255. Looks only inside the mask's box."""
    crop, left, top = next(mask.crops())
    framed = np.zeros((crop.shape[0], crop.shape[1] + 2), np.bool_)
    framed[:, 1:-1] = crop
    row, column = np.divmod(np.flatnonzero(framed[:, 1:] != framed[:, :-1]), crop.shape[1] + 1)
    changes = (row + top) * mask.width + column + left
    # Where the mask crosses from one row to the next, it ends and begins at one place: there is no change.
    once = np.diff(changes, prepend=-1, append=-1) != 0
    edges = np.concatenate([[0], changes[once[1:] & once[:-1]], [mask.width * mask.height]])
    lengths = np.diff(edges) * _CHANNELS
    values = np.arange(len(lengths)) % 2 * 255
    return lengths[lengths > 0], values[lengths > 0]


def _header(count: int) -> NDArray[np.uint8]:
    fields = [(count, 32), (7, 5), *((size - 1, 4) for size in _SIZES)]
    return np.array([(value >> bit) & 1 for value, size in fields for bit in reversed(range(size))], np.uint8)


def _records(lengths: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bits of one record of the kind "run" for every length and value."""
    sizes = np.array(_SIZES)
    which = np.searchsorted(1 << sizes, lengths)
    bits = 1 + 2 + sizes[which] + 8
    codes = (((1 << 2 | which) << sizes[which] | (lengths - 1)) << 8) | values
    ends = np.cumsum(bits)
    shifts = np.repeat(ends, bits) - 1 - np.arange(ends[-1])
    unpacked: NDArray[np.uint8] = ((np.repeat(codes, bits) >> shifts) & 1).astype(np.uint8)
    return unpacked


class _Bits:
    """Reads whole numbers of any few bits. Raises MaskError past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int) -> int:
        first, last = self._at >> 3, (self._at + count + 7) >> 3
        if last > len(self._data):
            raise MaskError("a brush region's rle ends in the middle; send all of it")
        chunk = int.from_bytes(self._data[first:last], "big")
        self._at += count
        return (chunk >> (last * 8 - self._at)) & ((1 << count) - 1)


def _unpacked(bits: _Bits, expected: int) -> NDArray[np.uint8]:
    count, size = bits.read(32), bits.read(5) + 1
    if count != expected:
        raise MaskError(f"a brush region's rle is of {count // 4} pixels; the image has {expected // 4}")
    if size != 8:
        raise MaskError(f"a brush region's rle must have 8 bits a value; got {size}")
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        run = bits.read(1)
        length = bits.read(sizes[bits.read(2)]) + 1
        if at + length > count:
            raise MaskError("a brush region's rle holds more than its image")
        if run:
            values[at : at + length] = bits.read(8)
        else:
            values[at : at + length] = [bits.read(8) for _ in range(length)]
        at += length
    return values
