"""Outlines of masks along the pixel edges, traced on spans.

Every span has a top edge, walked rightwards, and a bottom edge, walked leftwards. Where two columns meet, the vertical
steps between their spans say which edge follows which, so that linking the edges and walking the links gives every
ring. Time and memory go with the length of the outline. Regions join along edges (4-connectivity); where two pixels of
one region touch at a corner only, the outline passes so that no ring touches itself, which makes the polygons valid in
the sense of OGC simple features.

Rings with fewer points: the steps of digital lines cut, then Douglas and Peucker's algorithm on closed rings.

An outline along the pixel edges draws every slanting line as a staircase. Of corners alone, only a line beside the
staircase can be made; a line through the middles of its edges runs where the shape's does, and is often straight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar.masks.runs import Runs, components, read_only, spans_of

__all__ = ["Outlines", "outlines", "simplified"]

Ints = NDArray[np.int64]
Points = NDArray[np.float64]

CUT = 0.5
"""Cutting steps of one pixel moves an outline by less than this, and takes no pixel's centre to the other side."""

STRAIGHT = 1e-12
"""Points off a line by no more than the root of this (pixels) lie on it, but for rounding."""


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


@njit
def _cut_steps(ring: Points, out: Points) -> int:
    """Fill `out` with `ring`, its steps replaced by the middles of the edges that meet there. Returns how many points.

    A step is an edge of one pixel between a left and a right turn. Corners that are no step's are kept: a rectangle
    stays one.
    """
    count, used = len(ring), 0
    cut = np.zeros(count + 1, np.bool_)
    for k in range(count):
        ax, ay = ring[k, 0] - ring[k - 1, 0], ring[k, 1] - ring[k - 1, 1]
        b, c = (k + 1) % count, (k + 2) % count
        bx, by = ring[b, 0] - ring[k, 0], ring[b, 1] - ring[k, 1]
        cx, cy = ring[c, 0] - ring[b, 0], ring[c, 1] - ring[b, 1]
        if abs(bx) + abs(by) == 1 and (ax * by - ay * bx) * (bx * cy - by * cx) < 0:
            cut[k] = True
            cut[b] = True
    cut[count] = cut[0]
    for k in range(count):
        if not cut[k]:
            out[used, 0], out[used, 1] = ring[k, 0], ring[k, 1]
            used += 1
        if cut[k] or cut[k + 1]:
            b = (k + 1) % count
            out[used, 0], out[used, 1] = (ring[k, 0] + ring[b, 0]) / 2, (ring[k, 1] + ring[b, 1]) / 2
            used += 1
    return used


@njit
def _keep(ring: Points, limit: float, keep: NDArray[np.bool_]) -> int:
    """Mark the points of `ring` to keep; `limit` is the squared tolerance. Returns how many."""
    count = len(ring)
    stack = np.empty((64, 2), np.int64)
    far, most = 0, -1.0
    for k in range(count):
        keep[k] = False
        dx, dy = ring[k, 0] - ring[0, 0], ring[k, 1] - ring[0, 1]
        if dx * dx + dy * dy > most:
            far, most = k, dx * dx + dy * dy
    keep[0] = True
    keep[far] = True
    stack[0, 0], stack[0, 1] = 0, far
    stack[1, 0], stack[1, 1] = far, count
    used = 2
    while used:
        used -= 1
        low, high = stack[used, 0], stack[used, 1]
        x, y = ring[low, 0], ring[low, 1]
        dx, dy = ring[high % count, 0] - x, ring[high % count, 1] - y
        length = dx * dx + dy * dy
        worst, most = -1, limit
        for k in range(low + 1, high):
            px, py = ring[k, 0] - x, ring[k, 1] - y
            # The distance to the segment, not to its line: otherwise a spike along the line would be cut off.
            along = 0.0
            if length > 0:
                along = min(max((px * dx + py * dy) / length, 0.0), 1.0)
            ex, ey = px - along * dx, py - along * dy
            if ex * ex + ey * ey > most:
                worst, most = k, ex * ex + ey * ey
        if worst >= 0:
            keep[worst] = True
            if used + 2 > len(stack):
                taller = np.empty((2 * len(stack), 2), np.int64)
                for k in range(used):
                    taller[k, 0], taller[k, 1] = stack[k, 0], stack[k, 1]
                stack = taller
            stack[used, 0], stack[used, 1] = low, worst
            stack[used + 1, 0], stack[used + 1, 1] = worst, high
            used += 2
    # A ring thinner than the tolerance would collapse to a line and its region vanish: leave it as it is.
    left, area = 0, 0.0
    last = 0
    for k in range(1, count + 1):
        p = k % count
        if keep[p]:
            area += ring[last, 0] * ring[p, 1] - ring[p, 0] * ring[last, 1]
            last = p
            left += 1
    if left < 3 or area == 0.0:
        for k in range(count):
            keep[k] = True
        left = count
    return left


@njit
def _simplify(
    points: Points, offsets: NDArray[np.int64], tolerance: float, out: Points, ends: NDArray[np.int64]
) -> None:
    """Fill `out` with what is left of all rings, and `ends` with where each one's points end."""
    longest = 0
    for ring in range(len(offsets) - 1):
        longest = max(longest, offsets[ring + 1] - offsets[ring])
    middles = np.empty((2 * longest, 2), np.float64)
    keep = np.empty(2 * longest, np.bool_)
    used = 0
    for ring in range(len(offsets) - 1):
        corners = points[offsets[ring] : offsets[ring + 1]]
        shape = corners
        if tolerance >= CUT:
            shape = middles[: _cut_steps(corners, middles)]
            left = _keep(shape, (tolerance - CUT) ** 2 + STRAIGHT, keep)
        else:
            left = _keep(shape, tolerance * tolerance, keep)
        if left > len(corners):  # where corners and steps alternate, cutting adds points; then it is not worth it
            shape = corners
            keep[: len(corners)] = True
        for k in range(len(shape)):
            if keep[k]:
                out[used, 0], out[used, 1] = shape[k, 0], shape[k, 1]
                used += 1
        ends[ring] = used


def simplified(points: Points, offsets: NDArray[np.int64], tolerance: float) -> tuple[Points, NDArray[np.int64]]:
    """Rings of which no point of the old outline is farther than `tolerance` from the new, nor the other way round.

    Args:
        points: K×2 float64 (x, y), all rings one after another; the corners of outlines along the pixel edges.
        offsets: R+1, ring r owns points[offsets[r]:offsets[r + 1]].
        tolerance: pixels, 0 or more.
    """
    out, ends = np.empty_like(points), np.zeros(len(offsets), np.int64)
    if len(points):
        _simplify(read_only(points), read_only(offsets), tolerance, out, ends[1:])
    return out[: ends[-1]], ends
