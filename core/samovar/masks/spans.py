"""`Spans`: runs cut at the ends of columns, so that rows and columns can be reasoned about one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar.masks.runs import Runs, foreground, from_toggles, offsets_of, read_only

__all__ = ["Spans", "components", "from_spans", "portions", "spans_of"]

_PORTION = 1 << 18  # spans handled at a time, so that working memory stays at tens of megabytes


@dataclass(frozen=True, eq=False)
class Spans:
    """S vertical strokes of foreground, sorted by mask, column and row. All int64.

    Attributes:
        owners: the mask of each.
        columns: its column.
        tops, bottoms: its rows, bottom exclusive.
    """

    owners: NDArray[np.int64]
    columns: NDArray[np.int64]
    tops: NDArray[np.int64]
    bottoms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.owners)

    def seams(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """G+1 offsets of the groups of spans that share a mask and a column, and for each of the G groups whether the
        group before it lies in the column right before it.
        """
        new = (np.diff(self.owners, prepend=-1) != 0) | (np.diff(self.columns, prepend=-1) != 0)
        starts = np.flatnonzero(new)
        same = np.diff(self.owners[starts], prepend=-1) == 0
        follows = same & (np.diff(self.columns[starts], prepend=-2) == 1)
        return read_only(np.append(starts, len(self))), read_only(follows)


def spans_of(runs: Runs) -> Spans:
    """The spans of all masks."""
    owners, starts, ends = foreground(runs)
    first, last = starts // runs.height, (ends - 1) // runs.height
    tops, bottoms = starts - first * runs.height, ends - last * runs.height
    further = last - first
    if not further.any():
        return Spans(*(read_only(array) for array in (owners, first, tops, bottoms)))
    source = np.repeat(np.arange(len(owners)), further + 1)
    step = np.arange(len(source)) - offsets_of(further + 1)[source]
    tops = np.where(step == 0, tops[source], 0)
    bottoms = np.where(step == further[source], bottoms[source], runs.height)
    return Spans(*(read_only(array) for array in (owners[source], first[source] + step, tops, bottoms)))


def from_spans(spans: Spans, count: int, width: int, height: int) -> Runs:
    """`count` masks of a `width`×`height` image from spans inside it that do not overlap; any order, empty ones too."""
    origins = spans.columns * height
    positions = np.stack([origins + spans.tops, origins + spans.bottoms], axis=1).reshape(-1)
    return from_toggles(np.repeat(spans.owners, 2), positions, count, width, height)


def portions(runs: Runs) -> Iterator[slice]:
    """Consecutive masks that together have a bounded number of spans (or a single mask that has more)."""
    # A mask has at most one span a run, and one more for every column that a run enters.
    most = offsets_of(np.diff(runs.offsets) + runs.width)
    start = 0
    while start < len(runs):
        stop = int(np.searchsorted(most, most[start] + _PORTION, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


@njit
def _join(
    seams: NDArray[np.int64],
    follows: NDArray[np.bool_],
    tops: NDArray[np.int64],
    bottoms: NDArray[np.int64],
    reach: int,
    parents: NDArray[np.int64],
) -> int:
    """Union-find over spans of neighbouring columns; `parents` becomes each span's component. Returns how many."""
    for g in range(1, len(follows)):
        if not follows[g]:
            continue
        a, b = seams[g - 1], seams[g]
        while a < seams[g] and b < seams[g + 1]:
            if tops[a] < bottoms[b] + reach and tops[b] < bottoms[a] + reach:
                low, high = a, b
                while parents[low] != low:
                    parents[low] = parents[parents[low]]
                    low = parents[low]
                while parents[high] != high:
                    parents[high] = parents[parents[high]]
                    high = parents[high]
                if low < high:
                    parents[high] = low
                else:
                    parents[low] = high
            if bottoms[a] <= bottoms[b]:
                a += 1
            else:
                b += 1
    count = 0
    for k in range(len(parents)):
        # A root comes before its spans, so what it was renamed to is known by the time they ask.
        if parents[k] == k:
            parents[k] = count
            count += 1
        else:
            parents[k] = parents[parents[k]]
    return count


def components(spans: Spans, diagonal: bool) -> tuple[NDArray[np.int64], int]:
    """Connected regions: for every span the region it is in, numbered by first span over all masks; and how many.

    Regions join along edges, and with `diagonal` (8-connectivity) also at corners.
    """
    labels = np.arange(len(spans), dtype=np.int64)
    if len(spans) == 0:
        return labels, 0
    seams, follows = spans.seams()
    count = _join(seams, follows, spans.tops, spans.bottoms, int(diagonal), labels)
    return labels, count
