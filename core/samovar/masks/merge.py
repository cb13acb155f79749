"""Union and intersection of masks, two by two, on their runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar.masks.runs import Runs, concat, empty, offsets_of, read_only
from samovar.masks.scan import Counts

__all__ = ["intersection", "union"]

Ints = NDArray[np.int64]


_FOLD = 8  # masks folded one after another; more are folded in rounds, so that a long result is walked over log N times


@njit
def _fold(
    counts: Counts, offsets: Ints, bounds: Ints, needed: int, total: int, room: int, out: Counts, ends: Ints
) -> None:
    """Masks bounds[p]…bounds[p + 1] become one: pixels in any of them (`needed` 1) or in all (2).

    `room` is the most runs that the masks of one fold have together; `ends` becomes where each result's runs end.
    """
    result, other = np.empty(room, np.uint32), np.empty(room, np.uint32)
    filled = 0
    for p in range(len(bounds) - 1):
        size = offsets[bounds[p] + 1] - offsets[bounds[p]]
        for k in range(size):
            result[k] = counts[offsets[bounds[p]] + k]
        for m in range(bounds[p] + 1, bounds[p + 1]):
            i, j, size = 0, offsets[m], 0
            end_i, end_j = np.int64(result[0]), np.int64(counts[j])
            on_i, on_j, on = 0, 0, False
            last = np.int64(0)
            while end_i < total or end_j < total:
                position = min(end_i, end_j)
                if end_i == position:
                    i += 1
                    on_i = 1 - on_i
                    end_i += result[i]
                if end_j == position:
                    j += 1
                    on_j = 1 - on_j
                    end_j += counts[j]
                if (on_i + on_j >= needed) != on:
                    on = not on
                    other[size] = position - last
                    size += 1
                    last = position
            other[size] = total - last
            size += 1
            result, other = other, result
        for k in range(size):
            out[filled + k] = result[k]
        filled += size
        ends[p] = filled


def union(runs: Runs, groups: Ints, count: int) -> Runs:
    """`count` masks: the union of the masks of each group; `groups` names the group, in [0, count), of every mask."""
    return _reduced(runs, groups, count, 1)


def intersection(runs: Runs) -> Runs:
    """One mask: the pixels in all masks; empty where there are none."""
    return _reduced(runs, np.zeros(len(runs), np.int64), 1, 2)


def _reduced(runs: Runs, groups: Ints, count: int, needed: int) -> Runs:
    merged = runs.take(np.argsort(groups, kind="stable"))
    left = np.bincount(groups, minlength=count)
    while (left > 1).any():
        folds = -(-left // _FOLD)
        group = np.repeat(np.arange(count), folds)
        first = _FOLD * (np.arange(len(group)) - offsets_of(folds)[group])
        merged = _folded(merged, np.append(offsets_of(left)[group] + first, len(merged)), needed)
        left = folds
    if (left == 1).all():
        return merged
    with_empty = concat([merged, empty(1, runs.width, runs.height)])
    return with_empty.take(np.where(left > 0, np.cumsum(left) - 1, len(merged)))


def _folded(runs: Runs, bounds: Ints, needed: int) -> Runs:
    out, ends = np.empty(len(runs.counts), np.uint32), np.zeros(len(bounds), np.int64)
    room = int(np.diff(runs.offsets[bounds]).max())
    _fold(runs.counts, runs.offsets, read_only(bounds), needed, runs.pixels, room, out, ends[1:])
    return Runs(out[: ends[-1]].copy(), ends, runs.width, runs.height)
