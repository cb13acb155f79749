"""Rings with fewer points: the steps of digital lines cut, then Douglas and Peucker's algorithm on closed rings.

An outline along the pixel edges draws every slanting line as a staircase. Of corners alone, only a line beside the
staircase can be made; a line through the middles of its edges runs where the shape's does, and is often straight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar.masks.runs import read_only

__all__ = ["simplified"]

Points = NDArray[np.float64]

CUT = 0.5
"""Cutting steps of one pixel moves an outline by less than this, and takes no pixel's centre to the other side."""

STRAIGHT = 1e-12
"""Points off a line by no more than the root of this (pixels) lie on it, but for rounding."""


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
