"""One frame as the tracker looks at it: small, grey for flow, and described on a coarse grid for appearance."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CELL", "View", "to_grid", "view_of"]

CELL = 2  # pixels of the small frame a side of a cell
_LONGEST = 480  # pixels of the small frame's longer side
_SHORTEST = 32  # optical flow needs that much
_LIGHTNESS, _COLOUR = 0.6, 1.5  # light changes more than colour does
_SCALE = 12.0


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
