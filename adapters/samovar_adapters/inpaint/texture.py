"""How textured a picture is around each pixel, for patches to match beside their colours.

Without it smooth patches, which resemble everything fairly well, win over those with the right texture (Newson,
Almansa, Fradet, Gousseau and Pérez, 2014).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["spread_texture", "texture_of"]

_WEIGHT = 50.0  # of a squared difference of texture beside one of colours


def texture_of(pixels: NDArray[np.uint8], hole: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """H×W×2 float32: the mean change from column to column and from row to row, over squares of `side` pixels.

    Scaled so that squared differences can be added to those of colours (H×W×3 uint8). The hole is left out.
    """
    grey = pixels.astype(np.float32).mean(axis=2)
    known = (~hole).astype(np.float32)
    parts = []
    for axis in (1, 0):
        change = np.abs(np.roll(grey, -1, axis) - grey)
        seen = known * np.roll(known, -1, axis)
        np.moveaxis(seen, axis, 0)[-1] = 0  # what was rolled in from the other side of the picture
        parts.append(_mean(change, seen, side))
    return np.dstack(parts) * np.float32(np.sqrt(_WEIGHT))


def spread_texture(texture: NDArray[np.float32], hole: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """The texture with the hole's as around it, over squares of `side` pixels."""
    known = (~hole).astype(np.float32)
    around = np.dstack([_mean(texture[..., i], known, side) for i in range(2)])
    return np.where(hole[..., None], around, texture)


def _mean(values: NDArray[np.float32], weights: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Weighted means over squares of that side; that of everything where a square has no weight."""
    weighted = values * weights
    total = cv2.blur(weights, (side, side))
    overall = float(weighted.sum()) / max(float(weights.sum()), 1e-6)
    local = cv2.blur(weighted, (side, side)) / np.maximum(total, 1e-6)
    return np.where(total > 1e-5, local, np.float32(overall)).astype(np.float32)
