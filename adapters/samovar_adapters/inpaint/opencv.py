"""Inpainting without a model, by OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import UnknownNameError
from samovar_adapters.inpaint.painter import Picture

__all__ = ["METHODS", "OpenCVPainter"]

METHODS = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}
_RADIUS = 5  # pixels around each filled one that it is interpolated from


class OpenCVPainter:
    """Fills holes from their rims: smooth surroundings are continued, texture is not.

    Args:
        method: "telea" (Telea, 2004) or "navier-stokes" (Bertalmio, Bertozzi and Sapiro, 2001).

    Raises:
        UnknownNameError: another method.
    """

    native = None
    multiple = 1
    batch = 1

    def __init__(self, method: str = "telea") -> None:
        if method not in METHODS:
            raise UnknownNameError.among("inpainting method", method, METHODS, "see samovar inpaint remove --help")
        self.method = method

    def paint(self, pictures: Sequence[Picture]) -> list[NDArray[np.uint8]]:
        """Each picture filled. The same picture gives the same pixels."""
        return [_filled(picture.pixels, picture.mask, METHODS[self.method]) for picture in pictures]


def _filled(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], flag: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.inpaint(pixels, mask.astype(np.uint8), _RADIUS, flag), np.uint8)
