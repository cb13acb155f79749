"""Minimum-area rotated rectangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.masks.runs import Runs
from samovar.masks.spans import portions, spans_of

__all__ = ["rotated_boxes"]


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
