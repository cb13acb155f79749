"""From the patches that lie over a hole to its pixels: a vote, and seams evened out.

Arrays are as in `nearest`; `gap` (H×W bool) is the hole, `weights` (N float32) says how much each target's patch
counts, and top, left, bottom and right bound the hole and a pixel around it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar_adapters.inpaint.nearest import RADIUS

__all__ = ["even_out", "vote"]

Pixels: TypeAlias = NDArray[np.float32]
Weights: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.int32]

_SEAM = 40.0  # levels out of 255: a step that is wrong by more is an edge, and stays
_HOLD = 0.01  # how much a pixel's own colour counts beside the step to each of its neighbours
_SPEED = 1.8  # over-relaxation


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
def even_out(
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
                # No step leads out of the picture, nor, as the box goes on beyond the hole, out of the box.
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
