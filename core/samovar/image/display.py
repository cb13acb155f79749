"""Pixels as people look at them: as PNG in a notebook, in a window elsewhere."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import SamovarError

__all__ = ["PREVIEW", "preview", "show_pixels", "to_png"]

PREVIEW = 1000
"""Pixels of the longer side of what a notebook shows by itself; more would make its file large."""


def preview(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W×3 uint8, averaged down to `PREVIEW` pixels where it is larger."""
    height, width = pixels.shape[:2]
    scale = PREVIEW / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """H×W×3 uint8 RGB as a PNG file, quickly rather than small."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def show_pixels(pixels: NDArray[np.uint8], title: str) -> None:
    """Show H×W×3 uint8 RGB below the notebook's cell, or else in the system's viewer of images.

    Raises:
        SamovarError: there is no such viewer.
    """
    from PIL import Image as Pillow
    from PIL import ImageShow

    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):  # a notebook; a terminal's IPython has none and cannot show anything
        import_module("IPython.display").display(Pillow.fromarray(pixels))
    elif not ImageShow.show(Pillow.fromarray(pixels), title):
        raise SamovarError("expected a program that shows images; found none; save it to a file instead")
