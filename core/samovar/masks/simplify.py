"""Rings with fewer points: Douglas and Peucker's algorithm on closed rings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar.masks.runs import read_only

__all__ = ["simplified"]


@njit
def _keep(points: NDArray[np.float64], offsets: NDArray[np.int64], limit: float, keep: NDArray[np.bool_]) -> None:
    """Mark the points to keep; `limit` is the squared tolerance."""
    stack = np.empty((64, 2), np.int64)
    for ring in range(len(offsets) - 1):
        first, count = offsets[ring], offsets[ring + 1] - offsets[ring]
        far, most = 0, -1.0
        for k in range(1, count):
            dx, dy = points[first + k, 0] - points[first, 0], points[first + k, 1] - points[first, 1]
            if dx * dx + dy * dy > most:
                far, most = k, dx * dx + dy * dy
        keep[first] = True
        keep[first + far] = True
        stack[0, 0], stack[0, 1] = 0, far
        stack[1, 0], stack[1, 1] = far, count
        used = 2
        while used:
            used -= 1
            low, high = stack[used, 0], stack[used, 1]
            x, y = points[first + low, 0], points[first + low, 1]
            dx, dy = points[first + high % count, 0] - x, points[first + high % count, 1] - y
            length = dx * dx + dy * dy
            worst, most = -1, limit
            for k in range(low + 1, high):
                px, py = points[first + k, 0] - x, points[first + k, 1] - y
                # The distance to the segment, not to its line: otherwise a spike along the line would be cut off.
                along = 0.0
                if length > 0:
                    along = min(max((px * dx + py * dy) / length, 0.0), 1.0)
                ex, ey = px - along * dx, py - along * dy
                if ex * ex + ey * ey > most:
                    worst, most = k, ex * ex + ey * ey
            if worst >= 0:
                keep[first + worst] = True
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
        last = first
        for k in range(first + 1, first + count + 1):
            p = first + (k - first) % count
            if keep[p]:
                area += points[last, 0] * points[p, 1] - points[p, 0] * points[last, 1]
                last = p
                left += 1
        if left < 3 or area == 0.0:
            for k in range(first, first + count):
                keep[k] = True


def simplified(
    points: NDArray[np.float64], offsets: NDArray[np.int64], tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rings of which no point of the old outline is farther than `tolerance` from the new, nor the other way round.

    Args:
        points: K×2 float64 (x, y), all rings one after another.
        offsets: R+1, ring r owns points[offsets[r]:offsets[r + 1]].
        tolerance: pixels, 0 or more.
    """
    keep = np.zeros(len(points), np.bool_)
    if len(points):
        _keep(read_only(points), read_only(offsets), tolerance * tolerance, keep)
    before = np.concatenate([[0], np.cumsum(keep)])
    return points[keep], before[offsets]
