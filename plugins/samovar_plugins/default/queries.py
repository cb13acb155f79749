"""A prompt brought into the working frame: which leaves it touches, how far it is from each, what it covers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .scene import Scene

__all__ = ["Query", "cover", "make_query", "nearest_pixel", "surroundings"]


@dataclass(frozen=True)
class Query:
    """One prompt in working pixels.

    Attributes:
        positive, negative: k×2 float32, (x, y).
        positive_leaves, negative_leaves: k int64, the leaf under each.
        box: 4 float32, x1 y1 x2 y2, or None.
        prior: n float32 in 0…1, how much of each leaf a mask prompt claims, or None.
    """

    positive: NDArray[np.float32]
    negative: NDArray[np.float32]
    positive_leaves: NDArray[np.int64]
    negative_leaves: NDArray[np.int64]
    box: NDArray[np.float32] | None
    prior: NDArray[np.float32] | None


def make_query(
    scene: Scene,
    points: NDArray[np.float32],
    labels: NDArray[np.int8],
    box: NDArray[np.float32] | None,
    prior: NDArray[np.float32] | None,
) -> Query:
    """The query of points (k×2, image pixels), their labels, a box (image pixels) and a prior over leaves."""
    frame = scene.frame
    zoom = np.array([frame.zoom_x, frame.zoom_y], np.float32)
    at = points.astype(np.float32) * zoom
    at = np.minimum(np.maximum(at, 0), np.array([frame.cols, frame.rows], np.float32))
    leaves = np.array([scene.leaf_at(float(x), float(y)) for x, y in at], np.int64)
    good = labels > 0
    if box is not None:
        size = np.array([frame.cols, frame.rows] * 2, np.float32)
        box = np.minimum(np.maximum(box.astype(np.float32) * np.tile(zoom, 2), 0), size)
    return Query(at[good], at[~good], leaves[good], leaves[~good], box, prior)


@njit
def cover(labels: NDArray[np.uint16], area: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """n float32: the share of each leaf whose pixel centres are inside the box (at least one pixel's)."""
    rows, cols = labels.shape
    x1, x2 = int(np.ceil(box[0] - 0.5)), int(np.ceil(box[2] - 0.5))
    y1, y2 = int(np.ceil(box[1] - 0.5)), int(np.ceil(box[3] - 0.5))
    x1, y1 = min(max(x1, 0), cols - 1), min(max(y1, 0), rows - 1)
    x2, y2 = min(max(x2, x1 + 1), cols), min(max(y2, y1 + 1), rows)
    out = np.zeros(area.shape[0], np.float32)
    for y in range(y1, y2):
        for x in range(x1, x2):
            out[labels[y, x]] += 1
    for i in range(out.shape[0]):
        out[i] /= area[i]
    return out


@njit
def surroundings(
    covered: NDArray[np.float32],
    area: NDArray[np.float32],
    centre: NDArray[np.float32],
    vote: NDArray[np.float32],
    middle_x: float,
    middle_y: float,
    half_x: float,
    half_y: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Around a box: how much each leaf counts as near background, as object, and as background (n float32 each)."""
    n = area.shape[0]
    near = np.empty(n, np.float32)
    wanted = np.empty(n, np.float32)
    unwanted = np.empty(n, np.float32)
    for i in range(n):
        beside = abs(centre[i, 0] - middle_x) < 2 * half_x and abs(centre[i, 1] - middle_y) < 2 * half_y
        near[i] = 1.1 if beside else 0.1
        wanted[i] = area[i] * vote[i] * covered[i]
        unwanted[i] = area[i] * (1 - covered[i]) * near[i]
    return near, wanted, unwanted


@njit
def nearest_pixel(labels: NDArray[np.uint16], n: int, x: float, y: float, reach: float) -> NDArray[np.float32]:
    """n float32: working pixels from (x, y) to each leaf's nearest pixel centre; 1e9 if that is well beyond `reach`."""
    rows, cols = labels.shape
    out = np.full(n, np.float32(1e18))
    for j in range(max(int(y - reach), 0), min(int(y + reach) + 1, rows)):
        dy = np.float32(j + 0.5 - y)
        dy2 = dy * dy
        wide = math.sqrt(max(reach * reach - float(dy2), 0.0)) + 1
        for i in range(max(int(x - wide), 0), min(int(x + wide) + 1, cols)):
            dx = np.float32(i + 0.5 - x)
            d = dx * dx + dy2
            leaf = labels[j, i]
            if d < out[leaf]:
                out[leaf] = d
    for k in range(n):
        out[k] = np.sqrt(out[k])
    return out
