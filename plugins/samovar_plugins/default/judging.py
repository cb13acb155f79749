"""How good an answer probably is: its IoU with what was meant, predicted from how it fits prompt, picture and votes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .evidence import Evidence
from .queries import Query
from .scene import Scene

__all__ = ["JUDGED", "judge_rows"]

JUDGED = 24
_CELLS = 64  # a mask's depth is measured on at most this many cells a side


@njit
def _outlines(
    sets: NDArray[np.bool_],
    first: NDArray[np.uint16],
    second: NDArray[np.uint16],
    length: NDArray[np.float32],
    strength: NDArray[np.float32],
    chance: NDArray[np.float32],
) -> NDArray[np.float32]:
    """k×5: outline length, mean and mean square strength along it, mean strength inside, mean chance just outside."""
    out = np.zeros((sets.shape[0], 5), np.float32)
    for k in range(sets.shape[0]):
        edge, strong, square, inner, inner_strong, beyond = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for e in range(first.shape[0]):
            a, b = sets[k, first[e]], sets[k, second[e]]
            if a and b:
                inner += length[e]
                inner_strong += length[e] * strength[e]
            elif a or b:
                edge += length[e]
                strong += length[e] * strength[e]
                square += length[e] * strength[e] * strength[e]
                beyond += length[e] * chance[second[e] if a else first[e]]
        out[k, 0] = edge
        out[k, 1] = strong / (edge + 1e-6)
        out[k, 2] = square / (edge + 1e-6)
        out[k, 3] = inner_strong / (inner + 1e-6)
        out[k, 4] = beyond / (edge + 1e-6)
    return out


@njit
def _bounds(sets: NDArray[np.bool_], box: NDArray[np.int16]) -> NDArray[np.int64]:
    """k×4: the box around the leaves of each set, working pixels."""
    out = np.zeros((sets.shape[0], 4), np.int64)
    for k in range(sets.shape[0]):
        x1, y1, x2, y2 = 1 << 30, 1 << 30, 0, 0
        for i in range(box.shape[0]):
            if sets[k, i]:
                x1, y1 = min(x1, box[i, 0]), min(y1, box[i, 1])
                x2, y2 = max(x2, box[i, 2]), max(y2, box[i, 3])
        out[k, 0], out[k, 1], out[k, 2], out[k, 3] = x1, y1, x2, y2
    return out


@njit
def _framed(
    chosen: NDArray[np.bool_], labels: NDArray[np.uint16], left: int, top: int, right: int, bottom: int, step: int
) -> NDArray[np.uint8]:
    """Whether every `step`-th working pixel of a window is in the set, with a frame of pixels around that are not."""
    rows, cols = (bottom - top + step - 1) // step, (right - left + step - 1) // step
    out = np.zeros((rows + 2, cols + 2), np.uint8)
    for r in range(rows):
        for c in range(cols):
            out[r + 1, c + 1] = chosen[labels[top + r * step, left + c * step]]
    return out


def _depths(scene: Scene, query: Query, chosen: NDArray[np.bool_], bounds: NDArray[np.int64]) -> tuple[float, float]:
    """The deepest place inside the leaves and the mean depth of the positive points, working pixels."""
    left, top, right, bottom = bounds.tolist()
    step = max(1, -(-max(right - left, bottom - top) // _CELLS))
    framed = _framed(chosen, scene.labels, left, top, right, bottom, step)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, cols = depth.shape
    mean = 0.0
    for x, y in query.positive.tolist():
        row, col = min(max(int((y - top) / step), 0), rows - 1), min(max(int((x - left) / step), 0), cols - 1)
        mean += float(depth[row, col]) / len(query.positive)
    return float(depth.max()) * step, mean * step


def judge_rows(
    scene: Scene,
    query: Query,
    evidence: Evidence,
    chances: NDArray[np.float32],
    sets: NDArray[np.bool_],
    agreement: NDArray[np.float32],
    origin: NDArray[np.float32],
) -> NDArray[np.float32]:
    """k×JUDGED float32: what is known of k answers.

    Args:
        chances: k×n float32, the leaf probabilities behind each.
        sets: k×n bool, the leaves of each.
        agreement: k float32, expected IoU with the candidates' vote.
        origin: k float32, how each came about.
    """
    mass = sets * scene.area
    area = np.maximum(mass.sum(axis=1), 1)
    main = chances[0]
    inside = (mass * chances).sum(axis=1)
    own = inside / (area + ((~sets) * chances) @ scene.area + 1e-6)
    with_main = (mass @ main) / (area + scene.area @ main - mass @ main + 1e-6)
    lines = _outlines(sets, scene.border_first, scene.border_second, scene.border_length, scene.border_strength, main)
    rim = sets @ scene.rim
    out = np.zeros((len(sets), JUDGED), np.float32)
    out[:, 0] = own
    out[:, 1] = with_main
    out[:, 2] = agreement
    out[:, 3] = np.log(area / scene.total)
    out[:, 4] = rim / (lines[:, 0] + rim + 1e-6)
    out[:, 5] = np.log((lines[:, 0] + rim) ** 2 / (12.566 * area) + 0.05)
    out[:, 6:9] = lines[:, 1:4]
    out[:, 9] = lines[:, 4]
    out[:, 10] = origin
    out[:, 11] = evidence.candidates.score.max()
    out[:, 12] = inside / area
    bounds = _bounds(sets, scene.box)
    x1, y1, x2, y2 = bounds.T.astype(np.float64)
    out[:, 13] = area / ((x2 - x1) * (y2 - y1))
    out[:, 14] = np.log((x2 - x1) / (y2 - y1))
    if query.box is not None:
        left, top, right, bottom = (float(side) for side in query.box)
        wide, high = max(right - left, 1.0), max(bottom - top, 1.0)
        gaps = np.abs([(x1 - left) / wide, (y1 - top) / high, (right - x2) / wide, (bottom - y2) / high])
        out[:, 15] = np.minimum(gaps.sum(axis=0), 3)
        out[:, 16] = np.minimum(gaps.max(axis=0), 3)
        out[:, 17] = area / (wide * high)
    if len(query.positive):
        for k, chosen in enumerate(sets):
            deepest, depth = _depths(scene, query, chosen, bounds[k])
            out[k, 18] = depth / max(deepest, 1)
            out[k, 19] = deepest / np.sqrt(area[k])
            out[k, 20] = np.log(depth + 1)
    out[:, 21] = len(query.positive)
    out[:, 22] = len(query.negative)
    if query.prior is not None:
        claimed = mass @ query.prior
        out[:, 23] = claimed / (area + scene.area @ query.prior - claimed + 1e-6)
    return out
