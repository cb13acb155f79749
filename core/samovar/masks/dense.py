"""Dense forms of masks: stacks of arrays, crops, packed bits and label maps, to and from `Runs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.masks.runs import Runs, check_size, concat, empty, from_toggles, read_only
from samovar.masks.scan import encode, paint, transpose

__all__ = ["crop_of", "from_array", "from_crops", "from_label_map", "from_packed", "to_array", "to_packed"]

_CHUNK = 1 << 24  # pixels encoded at a time
_PIXELS = 1 << 9  # that NumPy paints while Python takes a step


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
    for index, mask in enumerate(_one_by_one(runs)):
        out[index] = np.packbits(mask, axis=-1)
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


def _one_by_one(runs: Runs) -> Iterator[NDArray[np.bool_]]:
    return (to_array(runs.take(slice(index, index + 1)))[0] for index in range(len(runs)))


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
