"""From leaves back to pixels: a smooth field over the working frame, read at any image pixel.

Leaf outlines follow single noisy pixels; a slight blur of the probabilities before thresholding gives the outline that
a person would draw. Pixels of the image read the field bilinearly, so outlines stay smooth at any enlargement.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .scene import Scene

__all__ = ["Field", "cut_mask", "low_res", "make_field"]

_SIGMA = 1.2
_MARGIN = 6
_CERTAIN = 0.005
GRID = 2
"""Working pixels per cell of the low-res logits, along each axis."""


@dataclass(frozen=True)
class Field:
    """Foreground probability on a window of the working frame; 0 elsewhere.

    Attributes:
        values: h×w float32.
        left, top: the window's corner, working pixels.
    """

    values: NDArray[np.float32]
    left: int
    top: int


def make_field(scene: Scene, chance: NDArray[np.float32], chosen: NDArray[np.bool_]) -> Field:
    """The field of leaf probabilities `chance` (n), pushed to agree with the `chosen` leaves (n bool)."""
    agreed = np.where(chosen, np.maximum(chance, np.float32(0.55)), np.minimum(chance, np.float32(0.45)))
    if not chosen.any():
        chosen = agreed >= agreed.max()
    boxes = scene.box[chosen]
    left, top = (max(int(v) - _MARGIN, 0) for v in boxes[:, :2].min(axis=0))
    right = min(int(boxes[:, 2].max()) + _MARGIN, scene.frame.cols)
    bottom = min(int(boxes[:, 3].max()) + _MARGIN, scene.frame.rows)
    window = agreed[scene.labels[top:bottom, left:right]]
    values = cv2.GaussianBlur(window, (0, 0), _SIGMA, borderType=cv2.BORDER_REPLICATE)
    return Field(np.asarray(values, np.float32), left, top)


@njit
def _read(
    values: NDArray[np.float32],
    left: int,
    top: int,
    zoom_x: float,
    zoom_y: float,
    threshold: float,
    x1: int,
    y1: int,
    x2: int,
    y2: int,
) -> NDArray[np.bool_]:
    """Whether the field exceeds the threshold at each image pixel of a window.

    Between two working pixels on one side of the threshold everything is on that side: only where an outline passes
    is the field read pixel by pixel.
    """
    rows, cols = values.shape
    wide = x2 - x1
    part = np.empty(wide, np.float32)
    first = np.zeros(cols + 1, np.int64)  # image pixels from first[k] to first[k + 1] lie right of working pixel k
    for i in range(wide):
        at = (x1 + i + 0.5) * zoom_x - 0.5 - left
        at = min(max(at, 0.0), cols - 1.0)
        base = min(int(at), max(cols - 2, 0))
        part[i] = at - base
        first[base + 1] = i + 1
    for k in range(cols):
        first[k + 1] = max(first[k + 1], first[k])
    step = 1 if cols > 1 else 0
    cells = max(cols - 1, 1)
    out = np.zeros((y2 - y1, wide), np.bool_)
    line = np.empty(cols, np.float32)
    for j in range(y2 - y1):
        at = (y1 + j + 0.5) * zoom_y - 0.5 - top
        at = min(max(at, 0.0), rows - 1.0)
        base = min(int(at), max(rows - 2, 0))
        share = np.float32(at - base)
        below = min(base + 1, rows - 1)
        for i in range(cols):
            line[i] = values[base, i] + (values[below, i] - values[base, i]) * share
        k = 0
        while k < cells:
            start = k
            inside = line[k] > threshold
            while k < cells and (line[k + step] > threshold) == inside:
                k += 1
            if inside:
                out[j, first[start] : first[k]] = True
            if k < cells:
                for i in range(first[k], first[k + 1]):
                    out[j, i] = line[k] + (line[k + step] - line[k]) * part[i] > threshold
                k += 1
    return out


def cut_mask(
    scene: Scene, field: Field, threshold: float, clip: tuple[int, int, int, int] | None
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """The mask where the field exceeds `threshold`: h×w bool and its corner (x, y), image pixels.

    `clip` is a window x1 y1 x2 y2 of the image outside which the mask is empty.
    """
    frame = scene.frame
    h, w = field.values.shape
    x1, y1 = int(field.left / frame.zoom_x), int(field.top / frame.zoom_y)
    x2 = min(int(np.ceil((field.left + w) / frame.zoom_x)), frame.width)
    y2 = min(int(np.ceil((field.top + h) / frame.zoom_y)), frame.height)
    if clip is not None:
        x1, y1, x2, y2 = max(x1, clip[0]), max(y1, clip[1]), min(x2, clip[2]), min(y2, clip[3])
    if x2 <= x1 or y2 <= y1:
        return np.zeros((0, 0), np.bool_), (0, 0)
    mask = _read(field.values, field.left, field.top, frame.zoom_x, frame.zoom_y, threshold, x1, y1, x2, y2)
    return mask, (x1, y1)


def low_res(scene: Scene, field: Field) -> NDArray[np.float32]:
    """The field as logits over the whole image, one cell per GRID×GRID working pixels (float32)."""
    frame = scene.frame
    whole = np.zeros((frame.rows, frame.cols), np.float32)
    h, w = field.values.shape
    whole[field.top : field.top + h, field.left : field.left + w] = field.values
    size = (max(1, -(-frame.cols // GRID)), max(1, -(-frame.rows // GRID)))
    cells = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)
    cells = np.clip(cells, _CERTAIN, 1 - _CERTAIN)
    return np.asarray(np.log(cells / (1 - cells)), np.float32)
