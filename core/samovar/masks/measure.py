"""What is read off masks without painting them: areas, boxes, rotated boxes, overlaps and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import MaskError
from samovar.jit import njit
from samovar.masks.runs import Runs, portions, read_only, spans_of

__all__ = ["areas_and_boxes", "box_iou", "mask_iou", "nms_boxes", "nms_masks", "pair_iou", "rotated_boxes", "same_size"]

_BLOCK = 1 << 20  # entries of a table of pairs worked out at a time
Overlap = Callable[[int, NDArray[np.int64]], NDArray[np.float64]]


@njit
def _measure(
    counts: NDArray[Any],
    offsets: NDArray[np.int64],
    height: int,
    areas: NDArray[np.int64],
    boxes: NDArray[np.float32],
) -> None:
    for i in range(len(offsets) - 1):
        area, left, top, right, bottom = 0, 1 << 32, height, -1, 0
        c, r = 0, 0
        for k in range(offsets[i], offsets[i + 1]):
            length = counts[k]
            on = (k - offsets[i]) & 1 and length > 0
            if on:
                area += length
                left = min(left, c)
                top = min(top, r)
            r += length
            if r > height or (r == height and not on):
                crossed = r // height
                c += crossed
                r -= crossed * height
                if on:
                    # Into another column: this run covers the bottom of its first and the top of its last. Exactly at
                    # the end of a column it has not entered the next.
                    top, bottom = 0, height
                    if r == 0:
                        c -= 1
                        r = height
            if on:
                right = max(right, c)
                bottom = max(bottom, r)
                if r == height:
                    c += 1
                    r = 0
        areas[i] = area
        if area:
            boxes[i, 0] = left
            boxes[i, 1] = top
            boxes[i, 2] = right + 1
            boxes[i, 3] = bottom


def areas_and_boxes(runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """N int64 pixel counts, and N×4 float32 boxes x1 y1 x2 y2 along pixel edges, 0 0 0 0 for an empty mask."""
    areas, boxes = np.zeros(len(runs), np.int64), np.zeros((len(runs), 4), np.float32)
    if len(runs):
        _measure.over(len(runs.counts))(runs.counts, runs.offsets, runs.height, areas, boxes)
    return read_only(areas), read_only(boxes)


@njit
def _shared(
    counts: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    others: NDArray[np.uint32],
    other_offsets: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """For each pair (left[p], right[p]) the number of pixels in both masks."""
    for p in range(len(left)):
        i, stop_i = offsets[left[p]], offsets[left[p] + 1]
        j, stop_j = other_offsets[right[p]], other_offsets[right[p] + 1]
        shared = 0
        # [start, end) of the foreground run under each cursor
        start_a = np.int64(counts[i])
        start_b = np.int64(others[j])
        i += 1
        j += 1
        while i < stop_i and j < stop_j:
            end_a = start_a + counts[i]
            end_b = start_b + others[j]
            low = max(start_a, start_b)
            high = min(end_a, end_b)
            if high > low:
                shared += high - low
            if end_a <= end_b:
                i += 1
                if i < stop_i:
                    start_a = end_a + counts[i]
                i += 1
            if end_b <= end_a:
                j += 1
                if j < stop_j:
                    start_b = end_b + others[j]
                j += 1
        out[p] = shared


def same_size(runs: Runs, other: Runs) -> None:
    """Raise MaskError unless both are of one image size."""
    if (runs.width, runs.height) != (other.width, other.height):
        raise MaskError(
            f"masks of {runs.width}×{runs.height} and {other.width}×{other.height} images do not compare; "
            "resize or paste one of them first"
        )


def pair_iou(
    runs: Runs,
    other: Runs,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    areas: NDArray[np.int64],
    other_areas: NDArray[np.int64],
    crowd: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """IoU of runs[left[p]] with other[right[p]] for every pair p; 0 where both are empty.

    Where `crowd` (one per mask of `other`) holds, the intersection is divided by the left mask's area alone.
    """
    shared = np.zeros(len(left), np.int64)
    if len(left):
        index = read_only(left.astype(np.int64)), read_only(right.astype(np.int64))
        _shared(runs.counts, runs.offsets, other.counts, other.offsets, *index, shared)
    mine, theirs = areas[left], other_areas[right]
    whole = mine + theirs - shared
    if crowd is not None:
        whole = np.where(crowd[right], mine, whole)
    ratio: NDArray[np.float64] = shared / np.maximum(whole, 1)
    return ratio


def mask_iou(
    runs: Runs,
    other: Runs,
    measured: tuple[NDArray[np.int64], NDArray[np.float32]],
    other_measured: tuple[NDArray[np.int64], NDArray[np.float32]],
    crowd: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """N×M IoU; only pairs whose boxes overlap are looked at."""
    same_size(runs, other)
    (areas, boxes), (other_areas, other_boxes) = measured, other_measured
    left, right = _overlapping(boxes, other_boxes)
    out = np.zeros((len(runs), len(other)))
    out[left, right] = pair_iou(runs, other, left, right, areas, other_areas, crowd)
    return out


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Rows of an N×M table, a few at a time, so that what is worked out on the way stays small beside the table."""
    step = max(1, _BLOCK // max(columns, 1))
    return (slice(start, start + step) for start in range(0, rows, step))


def _overlapping(
    boxes: NDArray[np.float32], others: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs (index, index) of boxes x1 y1 x2 y2 that share some area."""
    lefts, rights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for rows in _blocks(len(boxes), len(others)):
        x1, y1, x2, y2 = boxes[rows, :, None].transpose(1, 0, 2)
        overlap = np.minimum(x2, others[:, 2]) > np.maximum(x1, others[:, 0])
        overlap &= np.minimum(y2, others[:, 3]) > np.maximum(y1, others[:, 1])
        left, right = np.nonzero(overlap)
        lefts.append(left + rows.start)
        rights.append(right)
    return np.concatenate(lefts), np.concatenate(rights)


def box_iou(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """N×M IoU of boxes x1 y1 x2 y2; 0 where both have no area."""
    out = np.zeros((len(boxes), len(others)))
    a, b = boxes.astype(np.float64), others.astype(np.float64)
    areas, other_areas = ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (a, b))
    for rows in _blocks(len(boxes), len(others)):
        x1, y1, x2, y2 = a[rows, :, None].transpose(1, 0, 2)
        overlap = np.clip(np.minimum(x2, b[:, 2]) - np.maximum(x1, b[:, 0]), 0, None)
        overlap *= np.clip(np.minimum(y2, b[:, 3]) - np.maximum(y1, b[:, 1]), 0, None)
        whole = areas[rows, None] + other_areas - overlap
        np.divide(overlap, whole, out=out[rows], where=whole > 0)
    return out


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


def rotated_boxes(runs: Runs) -> NDArray[np.float32]:
    """N×5 float32 centre x, centre y, width, height in pixels and angle in degrees; zeros for an empty mask.

    The smallest rectangle (OpenCV's rotating calipers) around the corners, not the centres, of a mask's pixels.
    """
    out = np.zeros((len(runs), 5), np.float32)
    for part in portions(runs):
        _fill(runs.take(part), out[part])
    return out


def _fill(runs: Runs, out: NDArray[np.float32]) -> None:
    import cv2

    spans = spans_of(runs)
    seams, _ = spans.seams()
    firsts, lasts = seams[:-1], seams[1:] - 1
    # The hull needs only the highest and the lowest edge of every column.
    columns, tops, bottoms = spans.columns[firsts], spans.tops[firsts], spans.bottoms[lasts]
    bounds = np.searchsorted(spans.owners[firsts], np.arange(len(runs) + 1))
    for index, (low, high) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist())):
        if low == high:
            continue
        x, top, bottom = columns[low:high], tops[low:high], bottoms[low:high]
        corners = np.concatenate([np.stack([x + step, rows], axis=1) for step in (0, 1) for rows in (top, bottom)])
        origin = corners.min(axis=0)  # small numbers: OpenCV works in float32
        (cx, cy), (w, h), angle = cv2.minAreaRect((corners - origin).astype(np.float32))
        # The same rectangle has four names, and which one comes differs between versions of OpenCV.
        quarter_turns, angle = divmod(angle, 90.0)
        if quarter_turns % 2:
            w, h = h, w
        out[index] = cx + origin[0], cy + origin[1], w, h, angle
