"""Small holes filled and small islands dropped, without ever making a mask dense.

The semantics are those of `remove_small_regions` in Segment Anything: regions touch at corners too (8-connectivity),
holes before islands, and if every island is small the largest stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.masks.runs import Runs, concat, foreground, from_toggles
from samovar.masks.spans import Spans, components, from_spans, portions, spans_of

__all__ = ["clean"]


def clean(runs: Runs, min_area: float) -> Runs:
    """Background regions below `min_area` pixels become foreground, then foreground regions below it are dropped."""
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
