"""The part of an image that a painter sees around a mask, and the size that it sees it at."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar_adapters.inpaint.region import Box

__all__ = ["resized", "window_around", "working_size"]

_LEAST_PADDING = 32
_LONGEST_ASPECT = 2.0


def window_around(box: Box, width: int, height: int, padding: int | None) -> Box:
    """`box` with `padding` pixels of its surroundings, clipped to the `width`×`height` image.

    Without a `padding` half the box's longer side, and at least 32 pixels. The shorter side then grows, as far as the
    image allows, to at least half of the longer one, as models see little in a strip.
    """
    x1, y1, x2, y2 = box
    if padding is None:
        padding = max(_LEAST_PADDING, math.ceil(max(x2 - x1, y2 - y1) / 2))
    x1, x2 = max(0, x1 - padding), min(width, x2 + padding)
    y1, y2 = max(0, y1 - padding), min(height, y2 + padding)
    shortest = math.ceil(max(x2 - x1, y2 - y1) / _LONGEST_ASPECT)
    x1, x2 = _at_least(x1, x2, shortest, width)
    y1, y2 = _at_least(y1, y2, shortest, height)
    return x1, y1, x2, y2


def _at_least(start: int, stop: int, length: int, limit: int) -> tuple[int, int]:
    """The interval grown around its middle to `length`, inside [0, limit)."""
    length = min(max(length, stop - start), limit)
    start = min(max(0, (start + stop - length) // 2), limit - length)
    return start, start + length


def working_size(width: int, height: int, native: int | None, multiple: int) -> tuple[int, int]:
    """Width and height at which a painter sees a `width`×`height` window.

    With a native side the window is scaled to the area of that square; both sides are rounded to the `multiple`.
    """
    scale = 1.0 if native is None else native / math.sqrt(width * height)
    return tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))  # type: ignore[return-value]


def resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Pixels (H×W or H×W×3, uint8) at another size, by area when they shrink and by Lanczos when they grow."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    changed = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)
    return np.asarray(changed, np.uint8)
