"""Filling holes with patches of their surroundings, so that texture goes on.

Space-time completion's coarse-to-fine search for one picture (Wexler, Shechtman and Irani, 2007), with PatchMatch
(Barnes, Shechtman, Finkelstein and Goldman, 2009) to find the nearest patches.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["fill_with_patches"]

Pixels: TypeAlias = NDArray[np.float32]
Costs: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.int32]

_RADIUS = 3  # patches are 7×7
_COARSEST = 24  # pixels of the shorter side below which the pyramid ends
_THINNEST = 2.5  # pixels: the deepest point of a hole that interpolation can fill well enough to start from
_ROUNDS = 12, 3  # of matching and voting, at the coarsest level and at the finest
_SWEEPS = 2  # of PatchMatch in a round
_INWARD = 1.3  # how much more a pixel counts than one a pixel deeper in the hole


def fill_with_patches(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`pixels` (H×W×3, uint8) with `hole` (H×W bool) filled from patches of the rest. The same input gives the same.

    Where there is no patch without a hole in it, interpolation alone fills.
    """
    if not _sources(_padded(hole)).any():
        return np.asarray(cv2.inpaint(pixels, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA), np.uint8)
    (image, gap), *finer = reversed(_pyramid(pixels, hole))
    start = np.asarray(cv2.inpaint(image, gap.astype(np.uint8), 5, cv2.INPAINT_TELEA), np.float32)
    filled, field = _settle(start, gap, None, _ROUNDS[0])
    for depth, (image, gap) in enumerate(finer, 1):
        grown = cv2.resize(filled, gap.shape[::-1], interpolation=cv2.INTER_LINEAR)
        start = np.where(gap[..., None], grown, image).astype(np.float32)
        rounds = round(_ROUNDS[0] + depth / len(finer) * (_ROUNDS[1] - _ROUNDS[0]))
        filled, field = _settle(start, gap, field, rounds)
    return np.where(hole[..., None], np.clip(np.rint(filled), 0, 255).astype(np.uint8), pixels)


def _pyramid(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """The picture and its hole, halved until the hole is thin; any pixel that shows some of the hole belongs to it."""
    levels = [(pixels, hole)]
    while min(hole.shape) >= 2 * _COARSEST and _depth(hole).max() > _THINNEST:
        size = (hole.shape[1] + 1) // 2, (hole.shape[0] + 1) // 2
        known = (~hole).astype(np.float32)
        share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        mean = cv2.resize(pixels * known[..., None], size, interpolation=cv2.INTER_AREA)
        pixels = np.rint(mean / np.maximum(share, 1e-6)[..., None]).clip(0, 255).astype(np.uint8)
        hole = share < 0.5
        if not _sources(_padded(hole)).any():
            break
        levels.append((pixels, hole))
    return levels


def _depth(hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far inside the hole a pixel lies; 0 outside."""
    if hole.all():
        return np.full(hole.shape, np.float32(max(hole.shape)))
    return np.asarray(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _padded(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.pad(hole, _RADIUS, mode="symmetric")


def _sources(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Centres of the patches that lie in the padded picture and touch no hole."""
    side = 2 * _RADIUS + 1
    touched = cv2.dilate(hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    allowed = np.zeros_like(hole)
    inner = slice(_RADIUS, -_RADIUS)
    allowed[inner, inner] = ~touched[inner, inner]
    return allowed


def _settle(
    picture: NDArray[np.float32], hole: NDArray[np.bool_], field: NDArray[np.int32] | None, rounds: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The picture after `rounds` of matching and voting, and where each patch came from (of the padded picture)."""
    reach = ((_RADIUS, _RADIUS),) * 2
    image = np.pad(picture, (*reach, (0, 0)), mode="symmetric")
    gap = _padded(hole)
    allowed = _sources(gap)
    side = 2 * _RADIUS + 1
    touched = cv2.dilate(gap.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    inner = np.zeros_like(gap)
    inner[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS] = True
    targets = np.argwhere(touched & inner).astype(np.int32)
    places = np.argwhere(allowed).astype(np.int32)
    if field is None:
        nearest = np.zeros((*gap.shape, 2), np.int32)
        random = np.random.default_rng(0)
        nearest[targets[:, 0], targets[:, 1]] = places[random.integers(0, len(places), len(targets))]
    else:
        nearest = _doubled(field, gap.shape)
    cost = np.full(gap.shape, -1, np.float32)
    inward = (_INWARD ** -_depth(gap)).astype(np.float32)
    state = 1
    for _ in range(rounds):
        state = _check(image, allowed, places, targets, nearest, cost, state)
        for sweep in range(_SWEEPS):
            state = _search(image, allowed, targets, nearest, cost, sweep, state)
        spread = float(np.percentile(cost[targets[:, 0], targets[:, 1]], 75)) + 1.0
        _vote(image, gap, targets, nearest, cost, inward, spread)
    return np.ascontiguousarray(image[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]), nearest


def _doubled(field: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """A field of the next finer level, in its padded coordinates."""
    rows = np.clip((np.arange(shape[0]) - _RADIUS) // 2 + _RADIUS, 0, field.shape[0] - 1)
    columns = np.clip((np.arange(shape[1]) - _RADIUS) // 2 + _RADIUS, 0, field.shape[1] - 1)
    coarse = (field[rows][:, columns] - _RADIUS) * 2 + _RADIUS
    coarse[..., 0] += ((np.arange(shape[0]) - _RADIUS) % 2)[:, None].astype(np.int32)
    coarse[..., 1] += ((np.arange(shape[1]) - _RADIUS) % 2)[None].astype(np.int32)
    return np.ascontiguousarray(coarse, np.int32)


@njit(fastmath=True)
def _distance(image: Pixels, ay: int, ax: int, by: int, bx: int, most: Any) -> Any:
    """Squared difference of two patches by their centres; whatever is above `most` once it is."""
    total = np.float32(0)
    for dy in range(-_RADIUS, _RADIUS + 1):
        for dx in range(-_RADIUS, _RADIUS + 1):
            for c in range(3):
                difference = image[ay + dy, ax + dx, c] - image[by + dy, bx + dx, c]
                total += difference * difference
        if total > most:
            return total
    return total


@njit
def _check(
    image: Pixels, allowed: Bits, places: Places, targets: Places, nearest: Places, cost: Costs, state: int
) -> int:
    """Measure every target's patch again, as the picture has changed; one that points nowhere gets a random patch."""
    for i in range(len(targets)):
        y, x = targets[i]
        by, bx = nearest[y, x]
        if by < 0 or bx < 0 or by >= allowed.shape[0] or bx >= allowed.shape[1] or not allowed[by, bx]:
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            by, bx = places[(state >> 8) % len(places)]
            nearest[y, x, 0], nearest[y, x, 1] = by, bx
        cost[y, x] = _distance(image, y, x, by, bx, np.float32(1e30))
    return state


@njit
def _search(image: Pixels, allowed: Bits, targets: Places, nearest: Places, cost: Costs, sweep: int, state: int) -> int:
    """One sweep of PatchMatch: take over the neighbours' shifts, then look around at random, ever closer."""
    height, width = allowed.shape
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
                found = _distance(image, y, x, cy, cx, best)
                if found < best:
                    best, by, bx = found, cy, cx
        radius = max(height, width)
        while radius >= 1:
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            cy = by + (state >> 8) % (2 * radius + 1) - radius
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            cx = bx + (state >> 8) % (2 * radius + 1) - radius
            if 0 <= cy < height and 0 <= cx < width and allowed[cy, cx]:
                found = _distance(image, y, x, cy, cx, best)
                if found < best:
                    best, by, bx = found, cy, cx
            radius //= 2
        cost[y, x] = best
        nearest[y, x, 0], nearest[y, x, 1] = by, bx
    return state


@njit
def _vote(
    image: Pixels, gap: Bits, targets: Places, nearest: Places, cost: Costs, inward: Costs, spread: float
) -> None:
    """Every pixel of the hole becomes the mean of what the patches over it say, good ones counting most."""
    votes = np.zeros(image.shape, np.float32)
    weights = np.zeros(gap.shape, np.float32)
    for i in range(len(targets)):
        y, x = targets[i]
        by, bx = nearest[y, x]
        weight = np.exp(-cost[y, x] / (2 * spread)) * inward[y, x]
        for dy in range(-_RADIUS, _RADIUS + 1):
            for dx in range(-_RADIUS, _RADIUS + 1):
                if gap[y + dy, x + dx]:
                    weights[y + dy, x + dx] += weight
                    for c in range(3):
                        votes[y + dy, x + dx, c] += weight * image[by + dy, bx + dx, c]
    for y in range(gap.shape[0]):
        for x in range(gap.shape[1]):
            if weights[y, x] > 0:
                for c in range(3):
                    image[y, x, c] = votes[y, x, c] / weights[y, x]
