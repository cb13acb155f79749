"""Dense optical flow between two frames (DIS, Kroeger et al., ECCV 2016), and what it says of an object."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Flow", "flow_between", "motion_evidence"]

_BINS = 31
_FLOOR = 2e-3  # share of a histogram below which a bin says nothing
_COMMON = 0.3  # separation of the two histograms below which motion says nothing
_MOST, _LEAST = 0.5, -4.0  # moving like the object is weak evidence; moving like the background is strong


@dataclass(frozen=True)
class Flow:
    """Where every pixel of a frame was in the frame before.

    Attributes:
        back: H×W×2 float32, (dx, dy) in pixels from this frame to the one before.
        trust: H×W float32 in 0…1: low where following the flow back and forth does not return to the same place,
            as in what was hidden before.
    """

    back: NDArray[np.float32]
    trust: NDArray[np.float32]

    def warp(self, earlier: NDArray[np.float32]) -> NDArray[np.float32]:
        """H×W float32 of the earlier frame, moved to this one; 0 from outside the frame."""
        x, y = _targets(self.back)
        moved = cv2.remap(earlier, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(moved, np.float32)


def flow_between(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> Flow:
    """The flow between two H×W uint8 grey frames of one size, at least 16 pixels a side."""
    # Not in OpenCV's own type hints.
    dis = cv2.DISOpticalFlow_create(  # type: ignore[attr-defined]
        cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    )
    nothing = np.zeros((*now.shape, 2), np.float32)
    back = np.asarray(dis.calc(now, before, nothing.copy()), np.float32)
    forth = np.asarray(dis.calc(before, now, nothing), np.float32)
    x, y = _targets(back)
    gap = back + cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    allowed = 1 + 0.1 * np.hypot(back[..., 0], back[..., 1])
    trust = 1 / (1 + (np.hypot(gap[..., 0], gap[..., 1]) / allowed) ** 2)
    return Flow(back, np.asarray(trust, np.float32))


def motion_evidence(back: NDArray[np.float32], mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> NDArray[np.float32]:
    """H×W float32 log odds that a pixel moves with the object rather than with what is around it.

    The camera's motion is taken out as an affine one fitted to everything but the object. What remains is compared with
    the histograms of what remains inside the mask and around it. Zero where the two do not move apart.

    Args:
        back: H×W×2 float32, the flow.
        mask: where the object is expected.
        near: the part of the frame that matters around it.
    """
    height, width = mask.shape
    none = np.zeros((height, width), np.float32)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    outside = cv2.dilate(mask.astype(np.uint8), disk) == 0
    core = cv2.erode(mask.astype(np.uint8), disk[2:7, 2:7]) > 0
    camera = _camera(back, outside)
    if camera is None or np.count_nonzero(core) < 30 or not (outside & near).any():
        return none
    columns, rows = _grid(height, width)
    rest = np.stack(
        [
            back[..., k] - (camera[k, 0] * columns + camera[k, 1] * rows + camera[k, 2] - (columns, rows)[k])
            for k in (0, 1)
        ]
    )
    step = float(np.clip(np.median(np.hypot(rest[0], rest[1])[core]) / 6, 0.25, 2))
    bin_x, bin_y = np.clip(np.round(rest / step) + _BINS // 2, 0, _BINS - 1).astype(np.int32)
    bins = bin_y * _BINS + bin_x
    inside, around = _histogram(bins[core]), _histogram(bins[outside & near])
    apart = 1 - float(np.sqrt(inside * around).sum())  # from the Bhattacharyya coefficient
    weight = max(0.0, apart - _COMMON) / (1 - _COMMON)
    odds = np.log((inside + _FLOOR) / (around + _FLOOR))
    return np.asarray(weight * np.clip(odds, _LEAST, _MOST).ravel()[bins], np.float32)


def _camera(back: NDArray[np.float32], outside: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    rows, columns = np.mgrid[4 : outside.shape[0] : 8, 4 : outside.shape[1] : 8]
    chosen = outside[rows, columns]
    rows, columns = rows[chosen], columns[chosen]
    if len(rows) < 20:
        return None
    here = np.stack([columns, rows], axis=1).astype(np.float32)
    found, _ = cv2.estimateAffine2D(
        here, here + back[rows, columns], method=cv2.RANSAC, ransacReprojThreshold=1.0, maxIters=200
    )
    return None if found is None else np.asarray(found, np.float64)


def _histogram(bins: NDArray[np.int32]) -> NDArray[np.float32]:
    counts = np.bincount(bins, minlength=_BINS**2).reshape(_BINS, _BINS).astype(np.float32)
    smooth = cv2.GaussianBlur(counts, (0, 0), 1.0)
    return np.asarray(smooth / max(float(smooth.sum()), 1.0), np.float32)


def _targets(flow: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    columns, rows = _grid(*flow.shape[:2])
    return columns + flow[..., 0], rows + flow[..., 1]


def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return columns, rows
