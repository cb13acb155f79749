"""Masks made of masks, on their runs and spans: unions, other sizes and places, small regions removed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.jit import njit
from samovar.masks.runs import (
    Counts,
    Runs,
    Spans,
    components,
    concat,
    empty,
    foreground,
    from_spans,
    from_toggles,
    offsets_of,
    portions,
    read_only,
    spans_of,
)

__all__ = ["intersection", "paste", "remove_small_regions", "resize", "union", "whole_box", "whole_place"]

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


def _each(runs: Runs, change: Callable[[Spans], Spans], width: int, height: int) -> Runs:
    parts = []
    for part in portions(runs):
        some = runs.take(part)
        parts.append(from_spans(change(spans_of(some)), len(some), width, height))
    return concat(parts) if parts else empty(0, width, height)


def whole_box(box: ArrayLike) -> list[int]:
    """x1 y1 x2 y2 as integers. Raises MaskError unless they are whole numbers with x1 < x2 and y1 < y2."""
    edges = np.asarray(box)
    whole = edges.dtype.kind in "iuf" and bool((np.isfinite(edges) & (edges == np.floor(edges))).all())
    if edges.shape != (4,) or not whole:
        raise MaskError(f"a crop's box must be 4 whole numbers x1 y1 x2 y2; got {box!r:.60}")
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise MaskError(f"a crop's box must have x1 < x2 and y1 < y2; got {box!r:.60}")
    return [int(edge) for edge in edges]


def whole_place(x: float, y: float) -> tuple[int, int]:
    """x and y as integers. Raises MaskError unless they are whole numbers."""
    try:
        whole = int(x) == x and int(y) == y
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise MaskError(f"masks are pasted at whole pixels x, y; got {x!r:.40}, {y!r:.40}")
    return int(x), int(y)


def paste(runs: Runs, width: int, height: int, x: int, y: int) -> Runs:
    """The masks moved by (x, y) pixels into a `width`×`height` image; what falls outside is cut off."""

    def moved(spans: Spans) -> Spans:
        columns = spans.columns + x
        tops, bottoms = np.clip(spans.tops + y, 0, height), np.clip(spans.bottoms + y, 0, height)
        kept = (columns >= 0) & (columns < width) & (tops < bottoms)
        return Spans(spans.owners[kept], columns[kept], tops[kept], bottoms[kept])

    return _each(runs, moved, width, height)


def resize(runs: Runs, width: int, height: int) -> Runs:
    """Nearest neighbour by pixel centres: pixel i of n takes the source pixel that holds (i + ½) / n of the side."""
    if (width, height) == (runs.width, runs.height):
        return runs

    def first(edge: NDArray[np.int64], source: int, target: int) -> NDArray[np.int64]:
        """The first target pixel i with its centre at or past a source edge: (2i + 1) · source ≥ 2 · edge · target."""
        return -((source - 2 * edge * target) // (2 * source))

    def scaled(spans: Spans) -> Spans:
        left = first(spans.columns, runs.width, width)
        times = first(spans.columns + 1, runs.width, width) - left
        source = np.repeat(np.arange(len(spans)), times)
        columns = left[source] + np.arange(len(source)) - offsets_of(times)[source]
        tops = first(spans.tops, runs.height, height)[source]
        bottoms = first(spans.bottoms, runs.height, height)[source]
        return Spans(spans.owners[source], columns, tops, bottoms)

    return _each(runs, scaled, width, height)


def remove_small_regions(runs: Runs, min_area: float) -> Runs:
    """As `remove_small_regions` of Segment Anything: regions touch at corners too (8-connectivity), holes come before
    islands, and if every island is small the largest stays.

    Background regions below `min_area` pixels become foreground, then foreground regions below it are dropped.
    """
    parts = [_without_islands(_without_holes(runs.take(part), min_area), min_area) for part in portions(runs)]
    return concat(parts) if parts else runs


def _inverted(runs: Runs) -> Runs:
    owners, starts, ends = foreground(runs)
    everyone = np.arange(len(runs), dtype=np.int64)
    owners = np.concatenate([everyone, owners, owners])
    return from_toggles(owners, np.concatenate([0 * everyone, starts, ends]), len(runs), runs.width, runs.height)


def _regions(spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every span's region, and every region's area."""
    labels, count = components(spans, diagonal=True)
    areas = np.bincount(labels, weights=spans.bottoms - spans.tops, minlength=count)
    return labels, areas.astype(np.int64)


def _kept(spans: Spans, keep: NDArray[np.bool_], runs: Runs) -> Runs:
    left = Spans(spans.owners[keep], spans.columns[keep], spans.tops[keep], spans.bottoms[keep])
    return from_spans(left, len(runs), runs.width, runs.height)


def _without_holes(runs: Runs, min_area: float) -> Runs:
    spans = spans_of(_inverted(runs))
    labels, areas = _regions(spans)
    # An empty mask is not a hole, even in an image smaller than min_area.
    vacant = np.diff(runs.offsets)[spans.owners] == 1
    large = (areas >= min_area)[labels] | vacant
    return runs if large.all() else _inverted(_kept(spans, large, runs))


def _without_islands(runs: Runs, min_area: float) -> Runs:
    spans = spans_of(runs)
    labels, areas = _regions(spans)
    large = areas >= min_area
    if large.all():
        return runs
    owner = np.zeros(len(areas), np.int64)
    owner[labels] = spans.owners
    order = np.lexsort((-areas, owner))  # each mask's regions, largest first; the first found of equals
    leaders = order[np.diff(owner[order], prepend=-1) != 0]
    spared = np.bincount(owner[large], minlength=len(runs))[owner[leaders]] == 0
    large[leaders[spared]] = True
    return _kept(spans, large[labels], runs)
