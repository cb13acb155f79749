"""Label Studio's brush masks: RGBA images packed as runs of bytes, bit by bit (the format of @thi.ng/rle-pack).

A header of 53 bits (number of values, 32; bits a value less one, 5; four sizes less one, 4 each), then records: one bit
that says run or literals, two that choose one of the sizes, the length less one in that many bits, and the value or
values. Values are the bytes of a row-major RGBA image of which only the alpha channel says anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samovar.errors import MaskError
from samovar.jit import njit
from samovar.masks import Masks

__all__ = ["decode", "encode"]

_SIZES = (3, 4, 8, 16)
_HEADER = 53
_CHANNELS = 4
_LONGEST = 1 << _SIZES[-1]
_RECORD = 3 + _SIZES[-1] + 8  # bits of a run, at most
_TORN, _MORE = 1, 2


def encode(mask: Masks) -> list[int]:
    """The one mask as Label Studio wants it in `value.rle`: bytes. Raises MaskError unless there is exactly one."""
    if len(mask) != 1:
        raise MaskError(f"a brush region is one mask; got {len(mask)}; index them")
    pixels = mask.width * mask.height
    edges = _row_edges(mask.runs.counts.astype(np.int64), mask.width, mask.height)
    header = pixels * _CHANNELS << 5 | 7
    for size in _SIZES:
        header = header << 4 | size - 1
    packed: list[int] = _packed(edges, pixels, header).tolist()
    return packed


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
    torn = MaskError("a brush region's rle ends in the middle; send all of it")
    if 8 * len(packed) < _HEADER:
        raise torn
    fields = int.from_bytes(packed[:7].tobytes(), "big") >> 7 * 8 - _HEADER
    values, size = fields >> 21, (fields >> 16 & 31) + 1
    if values != width * height * _CHANNELS:
        raise MaskError(f"a brush region's rle is of {values // _CHANNELS} pixels; the image has {width * height}")
    if size != 8:
        raise MaskError(f"a brush region's rle must have 8 bits a value; got {size}")
    sizes = np.array([(fields >> shift & 15) + 1 for shift in (12, 8, 4, 0)])
    shown, trouble = _unpacked(packed, width * height, sizes)
    if trouble == _TORN:
        raise torn
    if trouble == _MORE:
        raise MaskError("a brush region's rle holds more than its image")
    return Masks.from_array(shown.reshape(1, height, width))


@njit
def _row_edges(counts: NDArray[np.int64], width: int, height: int) -> NDArray[np.int64]:
    """The row-major positions at which a mask's value changes, sorted, from its column-major run lengths.

    Inside a row that is wherever two neighbouring columns differ; a column is the rows at which its value changes.
    """
    most = 2 * len(counts) + 2 * width + 2
    at = np.empty(most, np.int64)  # a stretch of rows that differ: its column, its first row, the row after it
    low, high = np.empty(most, np.int64), np.empty(most, np.int64)
    found = 0
    left, right = np.empty(height + 2, np.int64), np.empty(height + 2, np.int64)
    lefts = 0
    run, place = 0, counts[0]  # the next change, column-major
    last = len(counts) - 1
    for x in range(width + 1):
        rights = 0
        if x < width:
            if run % 2 == 1:
                right[0] = 0
                rights = 1
            while run < last and place < (x + 1) * height:
                row = place - x * height
                if row == 0 and rights == 1:  # what came in from the column before ends at once
                    rights = 0
                else:
                    right[rights] = row
                    rights += 1
                run += 1
                place += counts[run]
            if rights % 2 == 1:
                right[rights] = height
                rights += 1
        i, j, inside = 0, 0, False
        while i < lefts or j < rights:
            if i < lefts and j < rights and left[i] == right[j]:
                i += 1
                j += 1
                continue
            if j == rights or (i < lefts and left[i] < right[j]):
                row = left[i]
                i += 1
            else:
                row = right[j]
                j += 1
            if inside:
                high[found] = row
                found += 1
            else:
                at[found], low[found] = x, row
            inside = not inside
        left, right = right, left
        lefts = rights
    starts = np.zeros(height + 1, np.int64)
    for k in range(found):
        for row in range(low[k], high[k]):
            starts[row + 1] += 1
    for row in range(height):
        starts[row + 1] += starts[row]
    edges = np.empty(starts[height], np.int64)
    for k in range(found):
        for row in range(low[k], high[k]):
            edges[starts[row]] = row * width + at[k]
            starts[row] += 1
    kept = 0
    for edge in edges:
        if kept and edges[kept - 1] == edge:  # it ends with its row, and begins with the next
            kept -= 1
        else:
            edges[kept] = edge
            kept += 1
    return edges[:kept]


@njit
def _packed(edges: NDArray[np.int64], pixels: int, header: int) -> NDArray[np.uint8]:
    """The header's bits, and a record of the kind "run" for every run between `edges`."""
    records = len(edges) + 1 + pixels * _CHANNELS // _LONGEST
    out = np.zeros((_HEADER + _RECORD * records) // 8 + 1, np.uint8)
    held, bits, size = header, _HEADER, 0  # bits that wait for their byte to be full
    begun, value = 0, 0
    for k in range(len(edges) + 1):
        end = edges[k] if k < len(edges) else pixels
        left = (end - begun) * _CHANNELS
        while left > 0:
            while bits >= 8:
                bits -= 8
                out[size] = held >> bits
                held &= (1 << bits) - 1
                size += 1
            length = min(left, _LONGEST)
            which = 0
            while length > 1 << _SIZES[which]:
                which += 1
            held = ((held << 3 | 4 | which) << _SIZES[which] | (length - 1)) << 8 | value
            bits += 3 + _SIZES[which] + 8
            left -= length
        begun, value = end, 255 - value
    while bits > 0:
        out[size] = held >> (bits - 8) if bits >= 8 else held << (8 - bits)
        bits -= 8
        held &= (1 << max(bits, 0)) - 1
        size += 1
    return out[:size]


@njit
def _read(packed: NDArray[np.uint8], at: int, count: int) -> int:
    """The number in a few bits; all of them must be there."""
    value = 0
    for k in range(at >> 3, (at + count + 7) >> 3):
        value = value << 8 | packed[k]
    return value >> (-(at + count) & 7) & ((1 << count) - 1)


@njit
def _unpacked(packed: NDArray[np.uint8], pixels: int, sizes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], int]:
    """Whether each pixel shows at all, and what is wrong: 0, _TORN or _MORE."""
    shown = np.zeros(pixels, np.bool_)
    at, bits = _HEADER, 8 * len(packed)
    done, values = 0, pixels * _CHANNELS
    while done < values:
        if at + 3 > bits:
            return shown, _TORN
        is_run, size = _read(packed, at, 1) == 1, sizes[_read(packed, at + 1, 2)]
        at += 3
        if at + size > bits:
            return shown, _TORN
        length = _read(packed, at, size) + 1
        at += size
        if done + length > values:
            return shown, _MORE
        if at + (8 if is_run else 8 * length) > bits:
            return shown, _TORN
        first, after = done // _CHANNELS, (done + length) // _CHANNELS  # pixels whose last channel is among these
        if is_run:
            shown[first:after] = _read(packed, at, 8) > 0
            at += 8
        else:
            for pixel in range(first, after):
                shown[pixel] = _read(packed, at + 8 * (pixel * _CHANNELS + _CHANNELS - 1 - done), 8) > 0
            at += 8 * length
        done += length
    return shown, 0
