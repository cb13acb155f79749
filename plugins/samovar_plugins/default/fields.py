"""From leaves back to pixels: a smooth field over the working frame, read at any image pixel.

Leaf outlines follow single noisy pixels; a slight blur of the probabilities before thresholding gives the outline that
a person would draw. Pixels of the image read the field bilinearly (see `cutting`), so outlines stay smooth at any
enlargement.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .scene import Scene

__all__ = ["Field", "low_res", "make_field", "plain_field"]

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


@njit
def _spread(
    value: NDArray[np.float32], labels: NDArray[np.uint16], left: int, top: int, right: int, bottom: int
) -> NDArray[np.float32]:
    """Every working pixel of a window with its leaf's value."""
    out = np.empty((bottom - top, right - left), np.float32)
    for y in range(top, bottom):
        for x in range(left, right):
            out[y - top, x - left] = value[labels[y, x]]
    return out


def _agreed(chance: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(chosen, np.maximum(chance, np.float32(0.55)), np.minimum(chance, np.float32(0.45)))


def make_field(scene: Scene, chance: NDArray[np.float32], chosen: NDArray[np.bool_]) -> Field:
    """The field of leaf probabilities `chance` (n), pushed to agree with the `chosen` leaves (n bool)."""
    agreed = _agreed(chance, chosen)
    if not chosen.any():
        chosen = agreed >= agreed.max()
    boxes = scene.box[chosen]
    left, top = (max(int(v) - _MARGIN, 0) for v in boxes[:, :2].min(axis=0))
    right = min(int(boxes[:, 2].max()) + _MARGIN, scene.frame.cols)
    bottom = min(int(boxes[:, 3].max()) + _MARGIN, scene.frame.rows)
    window = _spread(agreed, scene.labels, left, top, right, bottom)
    values = cv2.GaussianBlur(window, (0, 0), _SIGMA, borderType=cv2.BORDER_REPLICATE)
    return Field(np.asarray(values, np.float32), left, top)


def plain_field(
    scene: Scene, chance: NDArray[np.float32], chosen: NDArray[np.bool_], clip: tuple[int, int, int, int] | None
) -> Field:
    """As `make_field`, without the blur, which leaves nothing of what is a pixel thin, and only where a clip allows.

    Args:
        clip: x1 y1 x2 y2, image pixels.
    """
    frame = scene.frame
    x1, y1, x2, y2 = clip or (0, 0, frame.width, frame.height)
    left, top = max(int(x1 * frame.zoom_x) - 1, 0), max(int(y1 * frame.zoom_y) - 1, 0)
    right, bottom = min(int(x2 * frame.zoom_x) + 2, frame.cols), min(int(y2 * frame.zoom_y) + 2, frame.rows)
    return Field(_spread(_agreed(chance, chosen), scene.labels, left, top, right, bottom), left, top)


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
