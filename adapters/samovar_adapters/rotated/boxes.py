"""The three ways in which detectors of rotated objects name one and the same rectangle."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError
from samovar.masks import Masks

__all__ = ["Convention", "corners", "rotated_boxes"]

Convention = Literal["le90", "le135", "oc"]
"""As MMRotate 1.x has them: "le90", the width is the longer side and the angle in [-90°, 90°); "le135", the same in
[-45°, 135°); "oc", OpenCV's, either side is the width and the angle in [-90°, 0°)."""


def rotated_boxes(masks: Masks, convention: Convention = "le90") -> NDArray[np.float32]:
    """The smallest rotated rectangle around each mask, as MMRotate's `RotatedBoxes` keeps it.

    Returns:
        N×5 float32: centre x, centre y, width, height in pixels, and the angle in radians, from the x axis to the side
        called width, clockwise on the screen. Zeros for an empty mask.

    Raises:
        InputError: another convention.
    """
    if convention not in get_args(Convention):
        raise InputError(f"convention must be one of {', '.join(get_args(Convention))}; got {convention!r}")
    boxes = masks.rotated_boxes().astype(np.float64)
    x, y, width, height, angle = boxes.T
    if convention == "oc":
        named = np.stack([x, y, height, width, angle - 90], axis=1)
    else:
        turned = width <= height
        start = -90 if convention == "le90" else -45
        angle = (np.where(turned, angle + 90, angle) - start) % 180 + start
        named = np.stack([x, y, np.maximum(width, height), np.minimum(width, height), angle], axis=1)
    named[:, 4] = np.where(masks.areas > 0, np.radians(named[:, 4]), 0)
    return named.astype(np.float32)


def corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """N×4×2 (x, y): the corners of N×5 rotated boxes (angle in radians, whatever the convention), clockwise."""
    x, y, width, height, angle = boxes.astype(np.float64).T
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1) * width[:, None] / 2
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * height[:, None] / 2
    centre = np.stack([x, y], axis=1)
    ring = [centre - along - across, centre + along - across, centre + along + across, centre - along + across]
    return np.stack(ring, axis=1).astype(np.float32)
