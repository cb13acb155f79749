"""PatchMatch: for every patch of a hole the most similar one of its surroundings, and from these patches its pixels.

The nearest patches are found as by Barnes et al., 2009. Pixels are voted for by the patches that lie over them, and a
Poisson blend spreads what is left of seams.

Patches lie inside the image (H×W×C float32, C colours and whatever else is to match) and are named by their centres,
(row, column). `allowed` (H×W bool) marks the centres to take patches from, `targets` (N×2 int32) lists those of the
hole in reading order, `nearest` (H×W×2 int32) and `cost` (H×W float32, −1 where there is no target) hold the answer.
`gap` (H×W bool) is the hole, `weights` (N float32) says how much each target's patch counts, and top, left, bottom and
right bound the hole and a pixel around it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["RADIUS", "measure", "poisson_blend", "search", "vote"]

Pixels: TypeAlias = NDArray[np.float32]
Costs: TypeAlias = NDArray[np.float32]
Weights: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.int32]

RADIUS = 3
"""Patches are squares of 2 · RADIUS + 1 pixels."""

_SEAM = 40.0  # levels out of 255: a step that is wrong by more is an edge, and stays
_HOLD = 0.01  # how much a pixel's own colour counts beside the step to each of its neighbours
_SPEED = 1.8  # over-relaxation


@njit(fastmath=True)
def _distance(rows: Pixels, depth: int, ay: int, ax: int, by: int, bx: int, most: Any) -> Any:
    """Squared difference of two patches by their centres; whatever is above `most` once it is.

    `rows` is the image as H×(W·C), so that a patch's row is one run of numbers, C = `depth` for each pixel.
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
def measure(image: Pixels, allowed: Bits, targets: Places, nearest: Places, cost: Costs, state: int) -> int:
    """Measure every target's patch again, as the image has changed; one that points nowhere gets another patch.

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


@njit
def vote(
    image: Pixels,
    gap: Bits,
    targets: Places,
    nearest: Places,
    weights: Weights,
    top: int,
    left: int,
    bottom: int,
    right: int,
) -> None:
    """Every pixel of the hole becomes the weighted mean of what the patches over it say."""
    votes = np.zeros((bottom - top, right - left, image.shape[2]), np.float32)
    total = np.zeros((bottom - top, right - left), np.float32)
    for i in range(len(targets)):
        y, x = targets[i]
        by, bx = nearest[y, x]
        weight = weights[i]
        for dy in range(-RADIUS, RADIUS + 1):
            for dx in range(-RADIUS, RADIUS + 1):
                py, px = y + dy, x + dx
                if gap[py, px]:
                    total[py - top, px - left] += weight
                    for c in range(image.shape[2]):
                        votes[py - top, px - left, c] += weight * image[by + dy, bx + dx, c]
    for y in range(bottom - top):
        for x in range(right - left):
            if total[y, x] > 0:
                for c in range(image.shape[2]):
                    image[top + y, left + x, c] = votes[y, x, c] / total[y, x]


@njit
def poisson_blend(
    image: Pixels,
    gap: Bits,
    targets: Places,
    nearest: Places,
    weights: Weights,
    top: int,
    left: int,
    bottom: int,
    right: int,
    turns: int,
) -> None:
    """Bring steps from pixel to pixel towards those of the patches, where the two are not far apart.

    A screened Poisson equation over the hole, by `turns` of successive over-relaxation. Where neighbouring pixels came
    from places of unlike brightness, the difference spreads instead of showing as a seam.
    """
    height, width = bottom - top, right - left
    steps = np.zeros((height, width, 2, 3), np.float32)  # to the right and down
    trust = np.zeros((height, width, 2), np.float32)
    for i in range(len(targets)):
        y, x = targets[i]
        by, bx = nearest[y, x]
        weight = weights[i]
        for axis in range(2):
            ey, ex = (0, 1) if axis == 0 else (1, 0)
            for dy in range(-RADIUS, RADIUS + 1 - ey):
                for dx in range(-RADIUS, RADIUS + 1 - ex):
                    py, px, sy, sx = y + dy, x + dx, by + dy, bx + dx
                    if gap[py, px] or gap[py + ey, px + ex]:
                        trust[py - top, px - left, axis] += weight
                        for c in range(3):
                            step = image[sy + ey, sx + ex, c] - image[sy, sx, c]
                            steps[py - top, px - left, axis, c] += weight * step
    for y in range(height):
        for x in range(width):
            for axis in range(2):
                total = trust[y, x, axis]
                if total > 0:
                    ey, ex = (0, 1) if axis == 0 else (1, 0)
                    worst = np.float32(0)
                    for c in range(3):
                        steps[y, x, axis, c] /= total
                        there = image[top + y + ey, left + x + ex, c]
                        worst = max(worst, abs(there - image[top + y, left + x, c] - steps[y, x, axis, c]))
                    trust[y, x, axis] = np.exp(-((worst / _SEAM) ** 2))
    said = image[top:bottom, left:right].copy()
    now = image[top:bottom, left:right]
    zero = np.float32(0)
    for _ in range(turns):
        for y in range(height):
            for x in range(width):
                if not gap[top + y, left + x]:
                    continue
                # No step leads out of the image, nor, as the box goes on beyond the hole, out of the box.
                on, down = trust[y, x, 0], trust[y, x, 1]
                off = trust[y, x - 1, 0] if x > 0 else zero
                up = trust[y - 1, x, 1] if y > 0 else zero
                total = _HOLD + on + off + down + up
                for c in range(3):
                    value = _HOLD * said[y, x, c]
                    if on > 0:
                        value += on * (now[y, x + 1, c] - steps[y, x, 0, c])
                    if off > 0:
                        value += off * (now[y, x - 1, c] + steps[y, x - 1, 0, c])
                    if down > 0:
                        value += down * (now[y + 1, x, c] - steps[y, x, 1, c])
                    if up > 0:
                        value += up * (now[y - 1, x, c] + steps[y - 1, x, 1, c])
                    now[y, x, c] += _SPEED * (value / total - now[y, x, c])
