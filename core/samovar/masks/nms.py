"""Greedy non-maximum suppression, by mask or by box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from samovar.masks.measure import box_iou, pair_iou
from samovar.masks.runs import Runs

__all__ = ["nms_boxes", "nms_masks"]

Overlap = Callable[[int, NDArray[np.int64]], NDArray[np.float64]]


def _greedy(scores: NDArray[np.float32], threshold: float, overlap: Overlap) -> NDArray[np.int64]:
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[overlap(best, order) <= threshold]
    return np.array(kept, np.int64)


def nms_boxes(boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Indices of N×4 boxes (x1 y1 x2 y2) kept, best-scored first.

    A box goes when its IoU with a kept, better-scored one is above `threshold`; of equal scores the earlier is better.
    """
    return _greedy(scores, threshold, lambda best, rest: box_iou(boxes[best : best + 1], boxes[rest])[0])


def nms_masks(
    runs: Runs,
    areas: NDArray[np.int64],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    threshold: float,
) -> NDArray[np.int64]:
    """As `nms_boxes`, by the IoU of the masks themselves; only those that could be too close are compared."""

    def overlap(best: int, rest: NDArray[np.int64]) -> NDArray[np.float64]:
        box, others = boxes[best], boxes[rest]
        apart = (others[:, :2] >= box[2:]).any(axis=1) | (others[:, 2:] <= box[:2]).any(axis=1)
        small, large = np.minimum(areas[rest], areas[best]), np.maximum(areas[rest], areas[best])
        close = np.flatnonzero(~apart & (small > threshold * large))
        out = np.zeros(len(rest))
        out[close] = pair_iou(runs, runs, np.full(len(close), best), rest[close], areas, areas)
        return out

    return _greedy(scores, threshold, overlap)
