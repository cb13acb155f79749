"""Resize, crop and paste of masks, on their spans."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.masks.runs import Runs, concat, empty, offsets_of
from samovar.masks.spans import Spans, from_spans, portions, spans_of

__all__ = ["paste", "resize", "whole_box", "whole_place"]


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
