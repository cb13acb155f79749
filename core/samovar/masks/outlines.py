"""Outlines of masks along the pixel edges, traced on spans.

Every span has a top edge, walked rightwards, and a bottom edge, walked leftwards. Where two columns meet, the vertical
steps between their spans say which edge follows which, so that linking the edges and walking the links gives every
ring. Time and memory go with the length of the outline. Regions join along edges (4-connectivity); where two pixels of
one region touch at a corner only, the outline passes so that no ring touches itself, which makes the polygons valid in
the sense of OGC simple features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar.masks.runs import Runs, read_only
from samovar.masks.spans import components, spans_of

__all__ = ["Outlines", "outlines"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outlines:
    """R rings of N masks, sorted by mask, region (largest first) and with a region's exterior before its holes.

    Attributes:
        points: K×2 int64 (x, y) in pixels, all rings one after another; exteriors run clockwise on the screen.
        offsets: R+1 int64; ring r owns points[offsets[r]:offsets[r + 1]].
        owners: R int64, the mask of each ring.
        holes: R bool, whether it bounds a hole.
    """

    points: Ints
    offsets: Ints
    owners: Ints
    holes: NDArray[np.bool_]


@njit
def _link(seams: Ints, follows: NDArray[np.bool_], tops: Ints, bottoms: Ints, labels: Ints, after: Ints) -> None:
    """For every edge the one that comes after it along the outline. Span s has top edge 2s and bottom edge 2s + 1."""
    groups = len(follows)
    for seam in range(2 * groups):
        # Each group of spans is met with the group on its left, and, if none follows, with nothing on its right.
        g = seam // 2
        if seam % 2 == 0:
            a = seams[g - 1] if follows[g] else seams[g]
            a_stop, b, b_stop = seams[g], seams[g], seams[g + 1]
        else:
            if g + 1 < groups and follows[g + 1]:
                continue
            a, a_stop, b, b_stop = seams[g], seams[g + 1], seams[g + 1], seams[g + 1]
        on_a, on_b = 0, 0
        # The edge whose end hangs on the vertical step above the sweep: the one that enters the step where foreground
        # is on the left (walked downwards), the one that leaves it where foreground is on the right (upwards).
        held = -1
        while a < a_stop or b < b_stop:
            y_a = 1 << 40
            y_b = 1 << 40
            if a < a_stop:
                y_a = bottoms[a] if on_a else tops[a]
            if b < b_stop:
                y_b = bottoms[b] if on_b else tops[b]
            edge_a, edge_b = 2 * a + on_a, 2 * b + on_b
            if y_a == y_b and on_a == on_b:  # the outline runs straight on
                if on_a:
                    after[edge_b] = edge_a
                else:
                    after[edge_a] = edge_b
            elif y_a == y_b:  # two pixels meet at a corner: cross over within one region, else turn back
                crossing = labels[a] == labels[b]
                if on_a:
                    after[held] = edge_b if crossing else edge_a
                    held = edge_a if crossing else edge_b
                elif crossing:
                    after[edge_a] = held
                    held = edge_b
                else:
                    after[edge_b] = held
                    held = edge_a
            elif y_a < y_b:
                if on_a == on_b:
                    held = edge_a
                elif on_a:
                    after[held] = edge_a
                else:
                    after[edge_a] = held
            elif on_a == on_b:
                held = edge_b
            elif on_b:
                after[edge_b] = held
            else:
                after[held] = edge_b
            if y_a <= y_b:
                a += on_a
                on_a = 1 - on_a
            if y_b <= y_a:
                b += on_b
                on_b = 1 - on_b


@njit
def _trace(
    columns: Ints, tops: Ints, bottoms: Ints, after: Ints, points: Ints, ends: Ints, firsts: Ints, areas: Ints
) -> tuple[int, int]:
    """Walk the links; fill corners, and per ring where they end, its first edge and its signed area. Returns counts."""
    used, rings = 0, 0
    for start in range(len(after)):
        if after[start] < 0:
            continue
        edge, area = start, 0
        while after[edge] >= 0:
            span, low = edge // 2, edge % 2
            x = columns[span] + 1 - low
            y = bottoms[span] if low else tops[span]
            area += y if low else -y
            following = after[edge]
            after[edge] = -1
            y_next = bottoms[following // 2] if following % 2 else tops[following // 2]
            if y != y_next or low != following % 2:
                points[used, 0], points[used, 1] = x, y
                points[used + 1, 0], points[used + 1, 1] = x, y_next
                used += 2
            edge = following
        ends[rings], firsts[rings], areas[rings] = used, start, area
        rings += 1
    return used, rings


def outlines(runs: Runs) -> Outlines:
    """The rings of all masks, corners only."""
    spans = spans_of(runs)
    size = len(spans)
    labels, count = components(spans, diagonal=False)
    after = np.full(2 * size, -1, np.int64)
    points = np.empty((4 * size, 2), np.int64)
    ends, firsts, areas = (np.empty(2 * size, np.int64) for _ in range(3))
    used = rings = 0
    if size:
        _link(*spans.seams(), spans.tops, spans.bottoms, read_only(labels), after)
        used, rings = _trace(spans.columns, spans.tops, spans.bottoms, after, points, ends, firsts, areas)
    ends, firsts, areas = ends[:rings], firsts[:rings] // 2, areas[:rings]
    regions, owners, holes = labels[firsts], spans.owners[firsts], areas < 0
    largest = np.zeros(count, np.int64)
    largest[regions[~holes]] = areas[~holes]
    order = np.lexsort((holes, regions, -largest[regions], owners))
    starts = np.concatenate([[0], ends[:-1]])
    lengths = (ends - starts)[order]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    source = np.repeat(starts[order] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Outlines(points[:used][source], offsets, owners[order], holes[order])
