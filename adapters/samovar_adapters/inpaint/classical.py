"""Inpainting without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import UnknownNameError
from samovar_adapters.inpaint.painter import Picture
from samovar_adapters.inpaint.patches import fill_with_patches

__all__ = ["METHODS", "ClassicalPainter"]

_RADIUS = 5  # pixels around each filled one that OpenCV interpolates it from


def _by_opencv(flag: int) -> Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]:
    return lambda pixels, hole: np.asarray(cv2.inpaint(pixels, hole.astype(np.uint8), _RADIUS, flag), np.uint8)


METHODS = {
    "patches": fill_with_patches,
    "telea": _by_opencv(cv2.INPAINT_TELEA),
    "navier-stokes": _by_opencv(cv2.INPAINT_NS),
}


class ClassicalPainter:
    """Fills holes from their surroundings.

    Args:
        method: "patches" continues texture; "telea" (Telea, 2004) and "navier-stokes" (Bertalmio, Bertozzi and Sapiro,
            2001) are OpenCV's, which continue smooth surroundings only, and are the fastest.

    Raises:
        UnknownNameError: another method.
    """

    native = None
    multiple = 1
    batch = 1

    def __init__(self, method: str = "patches") -> None:
        if method not in METHODS:
            raise UnknownNameError.among("inpainting method", method, METHODS, "see samovar inpaint remove --help")
        self.method = method

    def paint(self, pictures: Sequence[Picture]) -> list[NDArray[np.uint8]]:
        """Each picture filled. The same picture gives the same pixels."""
        fill = METHODS[self.method]
        return [fill(np.ascontiguousarray(picture.pixels), picture.mask) for picture in pictures]
