"""PatchMatch: for every patch of a hole, the most similar one of its surroundings (Barnes et al., 2009).

Patches lie inside the picture (H×W×C float32, C colours and whatever else is to match) and are named by their centres,
(row, column). `allowed` (H×W bool) marks the centres to take patches from, `targets` (N×2 int32) lists those of the
hole in reading order, `nearest` (H×W×2 int32) and `cost` (H×W float32, −1 where there is no target) hold the answer.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["RADIUS", "check", "search"]

Pixels: TypeAlias = NDArray[np.float32]
Costs: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.int32]

RADIUS = 3
"""Patches are squares of 2 · RADIUS + 1 pixels."""


@njit(fastmath=True)
def _distance(rows: Pixels, depth: int, ay: int, ax: int, by: int, bx: int, most: Any) -> Any:
    """Squared difference of two patches by their centres; whatever is above `most` once it is.

    `rows` is the picture as H×(W·C), so that a patch's row is one run of numbers, C = `depth` for each pixel.
    """
    total = np.float32(0)
    a, b, run = (ax - RADIUS) * depth, (bx - RADIUS) * depth, (2 * RADIUS + 1) * depth
    for dy in range(-RADIUS, RADIUS + 1):
        one, other = rows[ay + dy, a : a + run], rows[by + dy, b : b + run]
        for i in range(run):
            difference = one[i] - other[i]
            total += difference * difference
        if total > most:
            return total
    return total


@njit
def check(image: Pixels, allowed: Bits, targets: Places, nearest: Places, cost: Costs, state: int) -> int:
    """Measure every target's patch again, as the picture has changed; one that points nowhere gets another patch.

    `state` is that of the random numbers, which is returned.
    """
    height, width = allowed.shape
    depth = image.shape[2]
    rows = image.reshape(height, width * depth)
    for i in range(len(targets)):
        y, x = targets[i]
        by, bx = nearest[y, x]
        if by < 0 or bx < 0 or by >= height or bx >= width or not allowed[by, bx]:
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            place = (state * 2654435761) % (height * width)
            while not allowed[place // width, place % width]:
                place = (place + 1) % (height * width)
            by, bx = place // width, place % width
            nearest[y, x, 0], nearest[y, x, 1] = by, bx
        cost[y, x] = _distance(rows, depth, y, x, by, bx, np.float32(1e30))
    return state


@njit
def search(
    image: Pixels, allowed: Bits, targets: Places, nearest: Places, cost: Costs, sweep: int, reach: int, state: int
) -> int:
    """One sweep: take over the neighbours' shifts, then look around at random, ever closer, from `reach` pixels on."""
    height, width = allowed.shape
    depth = image.shape[2]
    rows = image.reshape(height, width * depth)
    count = len(targets)
    back = -1 if sweep % 2 == 0 else 1
    for i in range(count):
        y, x = targets[i if back == -1 else count - 1 - i]
        best, by, bx = cost[y, x], nearest[y, x, 0], nearest[y, x, 1]
        for axis in range(2):
            dy, dx = (back, 0) if axis == 0 else (0, back)
            if cost[y + dy, x + dx] < 0:
                continue
            cy, cx = nearest[y + dy, x + dx, 0] - dy, nearest[y + dy, x + dx, 1] - dx
            if 0 <= cy < height and 0 <= cx < width and allowed[cy, cx]:
                found = _distance(rows, depth, y, x, cy, cx, best)
                if found < best:
                    best, by, bx = found, cy, cx
        radius = reach
        while radius >= 1:
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            cy = by + (state >> 8) % (2 * radius + 1) - radius
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            cx = bx + (state >> 8) % (2 * radius + 1) - radius
            if 0 <= cy < height and 0 <= cx < width and allowed[cy, cx]:
                found = _distance(rows, depth, y, x, cy, cx, best)
                if found < best:
                    best, by, bx = found, cy, cx
            radius //= 2
        cost[y, x] = best
        nearest[y, x, 0], nearest[y, x, 1] = by, bx
    return state
