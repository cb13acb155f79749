"""Arrays as encoded pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError

__all__ = ["png"]


_LONGEST = 1_000_000  # pixels of a side that readers and writers of PNG take


def png(array: NDArray[Any]) -> bytes:
    """H×W uint8 or uint16 grey, or H×W×3 RGB or H×W×4 RGBA uint8, as PNG. The same bytes for the same array.

    Raises:
        InputError: a side longer than PNG files have.
    """
    if max(array.shape[:2]) > _LONGEST:
        size = f"{array.shape[1]}×{array.shape[0]}"
        raise InputError(
            f"a PNG has sides of at most {_LONGEST} pixels; got {size}; use npz or coco, or tile the image"
        )
    ordered = np.ascontiguousarray(array[..., [2, 1, 0, 3][: array.shape[2]]]) if array.ndim == 3 else array
    # Level 3 is where photos stop getting noticeably smaller and start to cost seconds.
    return cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
