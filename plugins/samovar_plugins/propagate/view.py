"""One frame as the tracker looks at it, and its motion since the frame before.

A `View` is small, grey for optical flow, and described on a coarse grid for appearance. The flow is dense (DIS, Kroeger
et al., ECCV 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CELL", "Flow", "View", "flow_between", "motion_evidence", "to_grid", "view_of"]

CELL = 2  # pixels of the small frame a side of a cell
_LONGEST = 480  # pixels of the small frame's longer side
_SHORTEST = 32  # optical flow needs that much
_LIGHTNESS, _COLOUR = 0.6, 1.5  # light changes more than colour does
_SCALE = 12.0
_BINS = 31
_FLOOR = 2e-3  # share of a histogram below which a bin says nothing
_COMMON = 0.3  # separation of the two histograms below which motion says nothing
_MOST, _LEAST = 0.5, -4.0  # moving like the object is weak evidence; moving like the background is strong


@dataclass(frozen=True)
class View:
    """A frame made small.

    Attributes:
        width, height: of the frame, in pixels.
        grey: h×w uint8.
        cells: g×f×13 float32, for every cell its colour at three scales and how much texture there is around it.
    """

    width: int
    height: int
    grey: NDArray[np.uint8]
    cells: NDArray[np.float32]

    def shrink(self, mask: NDArray[np.bool_] | NDArray[np.float32]) -> NDArray[np.float32]:
        """h×w float32 of an H×W mask or field at the frame's size."""
        size = self.grey.shape[1], self.grey.shape[0]
        return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)

    def enlarge(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        """H×W float32 at the frame's size of an h×w field."""
        return np.asarray(cv2.resize(field, (self.width, self.height), interpolation=cv2.INTER_LINEAR), np.float32)


def view_of(pixels: NDArray[np.uint8]) -> View:
    """The view of an H×W×3 uint8 RGB frame of any size."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    size = max(_SHORTEST, round(width * scale)), max(_SHORTEST, round(height * scale))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    return View(width, height, grey, _describe(small))


def to_grid(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over each cell of an h×w float32 field (or of each channel of an h×w×c one)."""
    size = field.shape[1] // CELL, field.shape[0] // CELL
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), np.float32)


def _describe(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    weights = np.array([_LIGHTNESS, _COLOUR, _COLOUR], np.float32)
    fine, middle, wide = (cv2.GaussianBlur(lab, (0, 0), sigma) for sigma in (1, 3, 8))
    light = np.asarray(fine[..., 0], np.float32)
    parts = [fine * weights, middle * weights, 0.7 * wide * weights]
    for dx, dy in ((1, 0), (0, 1)):
        slope = cv2.Sobel(light, cv2.CV_32F, dx, dy) / 4
        parts.append(np.sqrt(cv2.GaussianBlur(slope * slope, (0, 0), 3))[..., None])
    shape = to_grid(light).shape
    cells = [to_grid(np.asarray(part, np.float32)).reshape(*shape, -1) for part in parts]
    return np.asarray(np.concatenate(cells, axis=2) / _SCALE, np.float32)


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
