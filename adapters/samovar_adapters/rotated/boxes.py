"""Masks as rotated boxes: the three ways in which detectors name one and the same rectangle, and DOTA's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError
from samovar.masks import Masks
from samovar_adapters.formats import ImageFileSink

if TYPE_CHECKING:
    from samovar.image import Image

__all__ = ["Convention", "DotaSink", "corners", "rotated_boxes", "turned"]

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
    boxes = _named(masks.rotated_boxes().astype(np.float64), convention)
    boxes[masks.areas == 0, 4] = 0
    return boxes


def turned(boxes: NDArray[np.float32], convention: Convention = "le90") -> NDArray[np.float32]:
    """Upright N×4 boxes, x1 y1 x2 y2, as N×5 rotated ones. Raises InputError for another convention."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    return _named(np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, np.zeros(len(boxes))], axis=1), convention)


def _named(boxes: NDArray[np.float64], convention: Convention) -> NDArray[np.float32]:
    """N×5, angles in [0°, 90°), as the convention names the same rectangles; angles in radians."""
    if convention not in get_args(Convention):
        raise InputError(f"convention must be one of {', '.join(get_args(Convention))}; got {convention!r}")
    x, y, width, height, angle = boxes.T
    if convention == "oc":
        named = np.stack([x, y, height, width, angle - 90], axis=1)
    else:
        upended = width <= height
        start = -90 if convention == "le90" else -45
        angle = (np.where(upended, angle + 90, angle) - start) % 180 + start
        named = np.stack([x, y, np.maximum(width, height), np.minimum(width, height), angle], axis=1)
    named[:, 4] = np.radians(named[:, 4])
    return named.astype(np.float32)


def corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """N×4×2 (x, y): the corners of N×5 rotated boxes (angle in radians, whatever the convention), clockwise."""
    x, y, width, height, angle = boxes.astype(np.float64).T
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1) * width[:, None] / 2
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * height[:, None] / 2
    centre = np.stack([x, y], axis=1)
    ring = [centre - along - across, centre + along - across, centre + along + across, centre - along + across]
    return np.stack(ring, axis=1).astype(np.float32)


class DotaSink(ImageFileSink):
    """DOTA's annotation text (Xia et al., 2018): one file for every image.

    A line for every mask: x1 y1 x2 y2 x3 y3 x4 y4 category difficulty.
    The corners are those of the smallest rotated rectangle around the mask, in pixels, clockwise. The category is the
    label with its spaces turned into hyphens, as DOTA writes "small-vehicle", and "object" where there is none; the
    difficulty is 0. Empty masks are left out.

    Args:
        path: a folder, made if missing, or a `.txt` file for one image.

    Raises:
        InputError: a path that cannot be written.
    """

    name = "dota"
    suffix = ".txt"

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The file's bytes."""
        rings = corners(rotated_boxes(masks)).reshape(-1, 8)
        lines = [
            " ".join([*(f"{value:.1f}" for value in ring), "-".join((label or "object").split()), "0"])
            for ring, label, area in zip(rings.tolist(), masks.labels, masks.areas)
            if area
        ]
        return "".join(f"{line}\n" for line in lines).encode()
