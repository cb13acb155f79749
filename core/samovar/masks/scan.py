"""Kernels between pixels and run lengths: bits of dense masks in, dense masks out, in the order that memory lies."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["Counts", "encode", "paint", "transpose"]

Bytes: TypeAlias = NDArray[np.uint8]
Counts: TypeAlias = NDArray[Any]  # uint32; to a type checker plain numbers, as kernels mix them with int64
Words: TypeAlias = NDArray[Any]  # uint64, likewise

# The number of a word's lowest set bit, by de Bruijn multiplication: numba has no instruction for it.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT = np.zeros(64, np.int64)
for _bit in range(64):
    _BIT[((0x03F79D71B4CB0A89 << _bit) & (2**64 - 1)) >> 58] = _bit
_ONE, _SIX_BITS, _LAST = np.uint64(1), np.uint64(58), np.uint64(63)


@njit
def _bits_set(word: Any) -> Any:
    """How many bits of a 64-bit word are set (Warren, Hacker's Delight, 5-1); compilers know the pattern."""
    word -= (word >> _ONE) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit
def transpose(words: Words, n: int, h: int, w: int, stride: int) -> Words:
    """Bits of `n` row-major h×w masks → the same in column-major order, each column `stride` ≥ h bits from the last.

    Both have one word of zeros before and after each mask. Works on blocks of 64×64 bits, which are transposed by
    exchanging their halves, quarters, … (Warren, Hacker's Delight, 7-3).
    """
    per_mask = len(words) // n
    per_turned = (w * stride + 63) // 64 + 2
    turned = np.zeros(n * per_turned, np.uint64)
    block = np.empty(64, np.uint64)
    for i in range(n):
        for top in range(0, h, 64):
            for left in range(0, w, 64):
                deep, wide = min(64, h - top), min(64, w - left)
                kept = ~np.uint64(0) >> np.uint64(64 - wide)
                some = np.uint64(0)
                for r in range(deep):
                    at = (top + r) * w + left
                    low, shift = i * per_mask + 1 + at // 64, np.uint64(at % 64)
                    block[r] = ((words[low] >> shift) | ((words[low + 1] << _ONE) << (_LAST - shift))) & kept
                    some |= block[r]
                if not some:
                    continue
                for r in range(deep, 64):
                    block[r] = 0
                half = 32
                kept = np.uint64(0xFFFFFFFF)
                while half:
                    by = np.uint64(half)
                    for start in range(0, 64, 2 * half):
                        for r in range(start, start + half):
                            swapped = ((block[r] >> by) ^ block[r + half]) & kept
                            block[r + half] ^= swapped
                            block[r] ^= swapped << by
                    half //= 2
                    kept ^= kept << np.uint64(half)
                for c in range(wide):
                    at = (left + c) * stride + top
                    low, shift = i * per_turned + 1 + at // 64, np.uint64(at % 64)
                    turned[low] |= block[c] << shift
                    turned[low + 1] |= (block[c] >> _ONE) >> (_LAST - shift)
    return turned


@njit
def encode(
    words: Words, n: int, stride: int, x: int, y: int, height: int, total: int
) -> tuple[Counts, NDArray[np.int64]]:
    """Run lengths of `n` column-major masks that lie at (x, y) of an image of `height` rows and `total` pixels.

    `words` holds each mask's bits, lowest first, with one word of zeros before and after. A column begins every
    `stride` bits: its own height if it is the image's, else one more, for a bit of background before the next.
    64 pixels at a time are compared with the pixel before each. Returns counts and n+1 offsets.
    """
    per_mask = len(words) // n
    jump = height - stride
    room = np.int64(n)
    for k in range(1, len(words)):
        room += np.int64(_bits_set(words[k] ^ ((words[k] << _ONE) | (words[k - 1] >> _LAST))))
    counts = np.empty(room, np.uint32)
    offsets = np.zeros(n + 1, np.int64)
    filled = 0
    for i in range(n):
        last = 0
        for j in range(per_mask - 1):
            word = i * per_mask + 1 + j
            flips = words[word] ^ ((words[word] << _ONE) | (words[word - 1] >> _LAST))
            if not flips:
                continue
            column = j * 64 // stride if jump else 0
            while flips:
                rest = flips & (flips - _ONE)
                bit = j * 64 + _BIT[((flips ^ rest) * _DE_BRUIJN) >> _SIX_BITS]
                flips = rest
                position = x * height + y + bit
                if jump:
                    while bit >= (column + 1) * stride:
                        column += 1
                    position += column * jump
                counts[filled] = position - last
                filled += 1
                last = position
        if last < total:
            counts[filled] = total - last
            filled += 1
        offsets[i + 1] = filled
    return counts[:filled], offsets


@njit
def paint(counts: Counts, offsets: NDArray[np.int64], height: int, x: int, y: int, h: int, w: int, out: Bytes) -> None:
    """Write masks into `out`: zeroed, row-major, one h×w window at (x, y) after another.

    The window must hold the whole mask. A column's flips are marked first; then each row takes over the row above it,
    whole rows at a time, which runs at the speed of memory where writing column by column does not.
    """
    for i in range(len(offsets) - 1):
        base = i * h * w
        top, bottom, left, right = h, 0, w, 0
        c, r = -x, -y
        for k in range(offsets[i], offsets[i + 1]):
            length = counts[k]
            if (k - offsets[i]) & 1 and length:
                left, right = min(left, c), max(right, c)
                top, bottom = min(top, r), max(bottom, r)
                out[base + r * w + c] ^= 1
            r += length
            if r >= height - y:
                crossed = (r + y) // height
                if (k - offsets[i]) & 1 and length:
                    # The run goes on at the top of the next columns; past its own column's end there is no flip.
                    last = c + crossed if r + y > crossed * height else c + crossed - 1
                    for column in range(c + 1, last + 1):
                        out[base + column] ^= 1
                    right = max(right, last)
                    if last > c:
                        top = 0
                    bottom = h - 1
                c += crossed
                r -= crossed * height
            if (k - offsets[i]) & 1 and length and r > -y:
                if r < h:
                    out[base + r * w + c] ^= 1
                bottom = max(bottom, min(r, h - 1))
        for r in range(top + 1, bottom + 1):
            above = out[base + (r - 1) * w + left : base + (r - 1) * w + right + 1]
            row = out[base + r * w + left : base + r * w + right + 1]
            for c in range(len(row)):
                row[c] ^= above[c]
