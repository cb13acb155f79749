"""Translucent fills and anti-aliased outlines."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.masks import Masks
from samovar_adapters.overlay.palette import tint

__all__ = ["draw_fills", "draw_outline", "topmost"]

_FILL = 0.42
_CASING = 0.8


def topmost(masks: Masks) -> NDArray[np.int32]:
    """H×W int32: i + 1 where mask i shows, the smallest over the larger; 0 for background."""
    page = np.zeros((masks.height, masks.width), np.int32)
    for i in np.argsort(-masks.areas, kind="stable").tolist():
        crop, x, y = next(masks[i].crops())
        page[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = i + 1
    return page


def draw_fills(canvas: NDArray[np.uint8], shown: NDArray[np.int32], palette: NDArray[np.uint8]) -> None:
    """Tint `canvas` (H×W×3 uint8, changed) with the colour of the mask that shows at each pixel."""
    table = np.concatenate([np.zeros((1, 3), np.uint8), palette])
    tinted = cv2.addWeighted(canvas, 1 - _FILL, table[shown], _FILL, 0)
    np.copyto(canvas, tinted.astype(np.uint8, copy=False), where=(shown > 0)[..., None])


def draw_outline(
    canvas: NDArray[np.uint8], crop: NDArray[np.bool_], x: int, y: int, colour: NDArray[np.uint8], width: float
) -> None:
    """Draw along the inside of a mask's edge: a light line in a dark casing, so that one of them shows on anything.

    Drawn from the distance to the edge rather than from a polygon: smooth at any width, and a mask of one pixel still
    gets its dot.

    Args:
        canvas: H×W×3 uint8, changed.
        crop: h×w bool, the mask inside its box, whose top left pixel is at (x, y).
        width: of the light line, in pixels.
    """
    casing = max(0.9, 0.4 * width)
    pad = int(np.ceil(casing + 2))
    inside = np.pad(crop, pad).astype(np.uint8)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    without = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    signed = np.where(inside > 0, within - 0.5, 0.5 - without)
    # Smooths the staircase that every edge of pixels is, less so where there is no room for it.
    signed = cv2.GaussianBlur(signed, (0, 0), max(0.6, 0.35 * width))
    left, top = x - pad, y - pad
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + inside.shape[1], canvas.shape[1]), min(top + inside.shape[0], canvas.shape[0])
    signed = signed[y1 - top : y2 - top, x1 - left : x2 - left]
    away = np.abs(signed - width / 2) - width / 2  # from the light line's edge, negative on it
    part = canvas[y1:y2, x1:x2]
    rows, columns = np.nonzero(away < casing + 0.5)
    near = away[rows, columns]
    pixels = part[rows, columns].astype(np.float32)
    dark = np.clip(casing + 0.5 - near, 0, 1)[:, None] * _CASING
    light = np.clip(0.5 - near, 0, 1)[:, None]
    pixels = pixels * (1 - dark) + dark * (0.12 * colour)
    pixels = pixels * (1 - light) + light * tint(colour, 0.3)
    part[rows, columns] = np.round(pixels)
