"""COCO run-length encoding: dictionaries of "size" and "counts", counts as a list or as COCO's compressed string.

The string writes each run as the difference to the run two before it (from the fourth on), in groups of 5 bits, lowest
first, with a continuation bit, offset to printable characters (48…111), as in the COCO API of Dollár and Lin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import MaskError
from samovar.jit import njit
from samovar.masks.runs import Counts, Runs, check_size, checked, concat, empty, offsets_of, read_only

__all__ = ["from_coco_rle", "to_coco_rle"]

_LONGEST = 7  # characters of one run: 32 bits and a sign in groups of 5


@njit
def _write(counts: Counts, offsets: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The text of all masks; `ends` becomes where each one's ends."""
    # Room for the longest text there could be: pages that are never written to cost nothing, growing would.
    out = np.empty(_LONGEST * len(counts), np.uint8)
    used = 0
    for i in range(len(offsets) - 1):
        first = offsets[i]
        for k in range(first, offsets[i + 1]):
            value = np.int64(counts[k])
            if k - first > 2:
                value -= np.int64(counts[k - 2])
            while value < -16 or value > 15:  # more than fits the last group, whose highest bit is the sign
                out[used] = (value & 31) + 80
                used += 1
                value >>= 5
            out[used] = (value & 31) + 48
            used += 1
        ends[i] = used
    return out


@njit
def _read(
    text: NDArray[np.uint8], ends: NDArray[np.int64], total: int, counts: Counts, lengths: NDArray[np.int64]
) -> tuple[int, bool]:
    """Fill the run lengths, and how many each mask has, from the text of all masks.

    Returns the index of the first mask whose text is malformed or does not sum to `total` pixels, or -1; and whether
    no run but a first is 0.
    """
    used, at = 0, 0
    canonical = True
    for i in range(len(ends)):
        first = used
        covered = np.int64(0)
        while at < ends[i]:
            value, shift, more = np.int64(0), 0, True
            while more:
                if at == ends[i] or text[at] < 48 or text[at] > 111 or shift > 30:
                    return i, canonical
                group = np.int64(text[at]) - 48
                at += 1
                value |= (group & 31) << shift
                shift += 5
                more = (group & 32) != 0
                if not more and group & 16:
                    value -= np.int64(1) << shift
            if used - first > 2:
                value += np.int64(counts[used - 2])
            if value < 0 or value > total:
                return i, canonical
            if value == 0 and used > first:
                canonical = False
            covered += value
            counts[used] = value
            used += 1
        if covered != total:
            return i, canonical
        lengths[i] = used - first
    return -1, canonical


def to_coco_rle(runs: Runs, compressed: bool) -> list[dict[str, Any]]:
    """One {"size": [height, width], "counts": str or list of int} a mask."""
    size = [runs.height, runs.width]
    if not compressed:
        return [{"size": size[:], "counts": runs.of(index).tolist()} for index in range(len(runs))]
    ends = np.zeros(len(runs), np.int64)
    if not len(runs):
        return []
    out = _write.over(len(runs.counts))(runs.counts, runs.offsets, ends)
    text = str(out[: ends[-1]].data, "ascii")
    bounds = [0, *ends.tolist()]
    return [{"size": size[:], "counts": text[low:high]} for low, high in pairwise(bounds)]


def from_coco_rle(rles: Sequence[Mapping[str, Any]], width: int | None, height: int | None) -> Runs:
    """Masks from COCO RLE, compressed or not, mixed if need be. See `Masks.from_coco_rle`."""
    if isinstance(rles, Mapping):
        raise MaskError("COCO RLE comes as a list, one dictionary per mask; got one dictionary; pass [rle]")
    expected = None if width is None or height is None else check_size(width, height)
    given = []
    for index, rle in enumerate(rles):
        found, counts = _parts(index, rle)
        if found != expected:
            width, height = check_size(*found)
            if expected is not None:
                raise MaskError(
                    f"RLE {index} is {width}×{height}; expected {expected[0]}×{expected[1]} like the others"
                )
            expected = width, height
        given.append(counts)
    if expected is None:
        raise MaskError("an empty list of RLEs does not say how large the image is; pass width= and height=")
    width, height = expected
    if not given:
        return empty(0, width, height)
    texts = [_text(index, value) for index, value in enumerate(given) if isinstance(value, (str, bytes))]
    if len(texts) == len(given):
        return _decoded(texts, width, height)
    lists = [_listed(index, value) for index, value in enumerate(given) if not isinstance(value, (str, bytes))]
    runs = checked(np.concatenate(lists), offsets_of(np.array([len(one) for one in lists])), width, height)
    if not texts:
        return runs
    # Mixed: decode the texts, then the lists, and put them back into the order they came in.
    order = np.argsort([not isinstance(value, (str, bytes)) for value in given], kind="stable")
    return concat([_decoded(texts, width, height), runs]).take(np.argsort(order, kind="stable"))


def _parts(index: int, rle: Any) -> tuple[tuple[Any, Any], Any]:
    """Width and height as they are given, and the counts."""
    try:
        height, width = rle["size"]
        return (width, height), rle["counts"]
    except (KeyError, TypeError, ValueError) as error:
        raise MaskError(f'RLE {index} must be {{"size": [height, width], "counts": …}}; got {rle!r:.80}') from error


def _text(index: int, value: str | bytes) -> bytes:
    try:
        return value.encode("ascii") if isinstance(value, str) else value
    except UnicodeEncodeError as error:
        raise MaskError(f"counts of RLE {index} are not COCO's compressed text; got {value!r:.60}") from error


def _listed(index: int, value: Any) -> NDArray[np.int64]:
    array = np.asarray(value)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise MaskError(f"counts of RLE {index} must be text or a list of integers; got {value!r:.60}")
    return array.astype(np.int64)


def _decoded(texts: list[bytes], width: int, height: int) -> Runs:
    text = np.frombuffer(b"".join(texts), np.uint8)
    ends = np.cumsum([len(one) for one in texts], dtype=np.int64)
    counts, lengths = np.empty(len(text), np.uint32), np.empty(len(texts), np.int64)
    wrong, canonical = _read(read_only(text), ends, width * height, counts, lengths)
    if wrong >= 0:
        raise MaskError(
            f"counts are not COCO's compressed text of a mask of {width}×{height} pixels, or cut short; "
            f"got {texts[wrong]!r:.60}; check that size is [height, width]"
        )
    offsets = offsets_of(lengths)
    counts = counts[: offsets[-1]].copy()
    return Runs(counts, offsets, width, height) if canonical else checked(counts, offsets, width, height)
