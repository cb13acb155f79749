"""OpenCV's GrabCut as people use it with boxes and clicks, for comparison."""

from __future__ import annotations

from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol import Click, Mask

__all__ = ["grabcut"]

_SIDE = 480
_ROUNDS = 5


def grabcut(pixels: NDArray[np.uint8], clicks: list[Click], box: NDArray[np.float32] | None) -> Mask:
    """H×W bool for H×W×3 uint8 RGB pixels, worked out at 480 pixels on the longer side.

    A box starts it with everything outside as background. Without one, a disc around every foreground click is surely
    object, a larger one probably, all else probably background, and a disc around a background click surely so.
    """
    height, width = pixels.shape[:2]
    zoom = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    zx, zy = size[0] / width, size[1] / height
    state = np.full((size[1], size[0]), cv2.GC_PR_BGD if box is None else cv2.GC_BGD, np.uint8)
    if box is not None:
        x1, y1, x2, y2 = (round(float(v)) for v in box * [zx, zy, zx, zy])
        state[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = cv2.GC_PR_FGD
    span = max(size)
    if box is None:
        for x, y, good in clicks:
            if good:
                cv2.circle(state, (int(x * zx), int(y * zy)), max(span // 6, 2), cv2.GC_PR_FGD, -1)
    for x, y, good in clicks:
        kind = cv2.GC_FGD if good else cv2.GC_BGD
        cv2.circle(state, (int(x * zx), int(y * zy)), max(span // 80, 1), kind, -1)
    cv2.setRNGSeed(0)
    with suppress(cv2.error):  # all one colour, or nothing left to be background
        cv2.grabCut(small, state, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = ((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)).astype(np.uint8)
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST) > 0)
