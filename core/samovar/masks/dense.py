"""Dense forms of masks: stacks of arrays, crops, packed bits and label maps, to and from `Runs`.

The kernels between pixels and run lengths read and write pixels in the order that memory lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.jit import njit
from samovar.masks.runs import Counts, Runs, check_size, concat, empty, from_toggles, read_only

__all__ = ["crop_of", "from_array", "from_crops", "from_label_map", "from_packed", "to_array", "to_packed"]

_CHUNK = 1 << 24  # pixels encoded at a time
_PIXELS = 1 << 9  # that NumPy paints while Python takes a step

Bytes: TypeAlias = NDArray[np.uint8]
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


def _bits(name: str, array: NDArray[Any]) -> NDArray[np.bool_]:
    """Non-zero is foreground; bool arrays are taken as they are."""
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind not in "ui":
        raise MaskError(f"{name} must be bool or integer; got {array.dtype}; threshold it first, e.g. array > 0")
    bits: NDArray[np.bool_] = np.not_equal(array, 0)
    return bits


def _encode(masks: NDArray[np.bool_], x: int, y: int, width: int, height: int) -> Runs:
    """N crops of one size h, w ≥ 1 that lie at (x, y), inside the image."""
    n, h, w = masks.shape
    turned = masks.transpose(0, 2, 1)
    in_columns = h == height and turned.flags.c_contiguous
    bits = np.packbits((turned if in_columns else masks).reshape(n, -1), axis=1, bitorder="little")
    words = np.zeros((n, 2 + (bits.shape[1] + 7) // 8), np.uint64)
    words.view(np.uint8)[:, 8 : 8 + bits.shape[1]] = bits
    flat = read_only(words.reshape(-1))
    stride = h if h == height else h + 1
    if not in_columns:
        flat = read_only(transpose(flat, n, h, w, stride))
    counts, offsets = encode(flat, n, stride, x, y, height, width * height)
    return Runs(counts, offsets, width, height)


def from_array(array: ArrayLike) -> Runs:
    """N×H×W bool or integer (non-zero is foreground), any memory layout."""
    stack = np.asarray(array)
    if stack.ndim != 3:
        hint = "; for one mask pass array[None]" if stack.ndim == 2 else ""
        raise MaskError(f"masks must be N×H×W; got shape {stack.shape}{hint}")
    width, height = check_size(stack.shape[2], stack.shape[1])
    _bits("masks", stack[:0])
    # A few at a time, so that neither a conversion nor a change of layout doubles the stack.
    some = max(1, _CHUNK // (width * height))
    parts = [
        _encode(_bits("masks", stack[start : start + some]), 0, 0, width, height)
        for start in range(0, len(stack), some)
    ]
    return concat(parts) if parts else empty(0, width, height)


def from_crops(crops: Sequence[ArrayLike], origins: ArrayLike, width: int, height: int) -> Runs:
    """One h×w bool or integer crop a mask, and N×2 integers (x, y) of its top left pixel in the image."""
    width, height = check_size(width, height)
    corners = np.asarray(origins)
    if len(crops) == 0:
        return empty(0, width, height)
    if corners.shape != (len(crops), 2) or corners.dtype.kind not in "iu":
        raise MaskError(
            f"origins must be {len(crops)}×2 integers (x, y), a row per crop; got {corners.dtype} {corners.shape}"
        )
    parts = []
    for index, (crop, (x, y)) in enumerate(zip(crops, corners.tolist())):
        mask = np.asarray(crop)
        if mask.ndim != 2:
            raise MaskError(f"crop {index} must be h×w; got shape {mask.shape}")
        mask = _bits(f"crop {index}", mask)
        if mask.size == 0:
            parts.append(empty(1, width, height))
            continue
        h, w = mask.shape
        if x < 0 or y < 0 or x + w > width or y + h > height:
            raise MaskError(f"crop {index} ({w}×{h} at {x}, {y}) leaves the {width}×{height} image; clip it first")
        parts.append(_encode(mask[None], x, y, width, height))
    return concat(parts)


def to_array(runs: Runs) -> NDArray[np.bool_]:
    """N×H×W bool."""
    out = np.zeros((len(runs), runs.height, runs.width), np.bool_)
    if paint.spared(out.size // _PIXELS):
        for index, mask in enumerate(out):
            counts = runs.of(index)
            mask[:] = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(runs.width, runs.height).T
    else:
        flat = out.reshape(-1).view(np.uint8)
        paint(runs.counts, runs.offsets, runs.height, 0, 0, runs.height, runs.width, flat)
    return out


def crop_of(runs: Runs, index: int, box: Sequence[int]) -> NDArray[np.bool_]:
    """One mask's pixels in the window `box` (x1 y1 x2 y2, integers), which must hold the whole mask."""
    x1, y1, x2, y2 = box
    out = np.zeros((y2 - y1, x2 - x1), np.bool_)
    if out.size:
        one = runs.take(slice(index, index + 1))
        paint(one.counts, one.offsets, runs.height, x1, y1, y2 - y1, x2 - x1, out.reshape(-1).view(np.uint8))
    return out


def to_packed(runs: Runs) -> NDArray[np.uint8]:
    """N×H×⌈W/8⌉ uint8: rows of bits, the leftmost pixel in the highest bit, rows padded with zeros."""
    out = np.zeros((len(runs), runs.height, -(-runs.width // 8)), np.uint8)
    for index in range(len(runs)):  # one by one: all of them dense would be eight times what they are packed
        out[index] = np.packbits(to_array(runs.take(slice(index, index + 1)))[0], axis=-1)
    return out


def from_packed(packed: ArrayLike, width: int, height: int) -> Runs:
    """The inverse of `to_packed`; padding bits are ignored."""
    width, height = check_size(width, height)
    bits = np.asarray(packed)
    expected = (height, -(-width // 8))
    if bits.dtype != np.uint8 or bits.ndim != 3 or bits.shape[1:] != expected:
        raise MaskError(
            f"packed masks must be N×{expected[0]}×{expected[1]} uint8; got {bits.dtype} of shape {bits.shape}"
        )
    parts = [
        _encode(np.unpackbits(one, axis=-1, count=width).view(np.bool_)[None], 0, 0, width, height) for one in bits
    ]
    return concat(parts) if parts else empty(0, width, height)


def from_label_map(labels: ArrayLike) -> tuple[Runs, NDArray[np.int64]]:
    """H×W integers → one mask for every value but 0, and those values in ascending order."""
    values = np.asarray(labels)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise MaskError(f"a label map must be H×W integers; got {values.dtype} of shape {values.shape}")
    width, height = check_size(values.shape[1], values.shape[0])
    flat = values.T.reshape(-1)
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    ends = np.append(starts[1:], len(flat))
    present, owners = np.unique(flat[starts], return_inverse=True)
    owners = owners.reshape(-1)
    toggles = np.concatenate([starts, ends])
    runs = from_toggles(np.concatenate([owners, owners]), toggles, len(present), width, height)
    kept = np.flatnonzero(present != 0)
    return runs.take(kept), present[kept].astype(np.int64)
