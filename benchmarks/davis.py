"""J and F of a mask, as the DAVIS challenge defines them (Perazzi et al., CVPR 2016)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["boundary", "contour_accuracy", "region_similarity"]

_TOLERANCE = 0.008  # of the image's diagonal


def region_similarity(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """J: intersection over union of two H×W bool masks, 1 where both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def contour_accuracy(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """F: harmonic mean of precision and recall of the contours, matched within 0.8 % of the image's diagonal."""
    reach = int(np.ceil(_TOLERANCE * np.hypot(*mask.shape)))
    found, wanted = boundary(mask), boundary(truth)
    found_count, wanted_count = np.count_nonzero(found), np.count_nonzero(wanted)
    if not found_count or not wanted_count:
        return float(found_count == wanted_count)
    precision = np.count_nonzero(found & _widened(wanted, reach)) / found_count
    recall = np.count_nonzero(wanted & _widened(found, reach)) / wanted_count
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """H×W bool, one pixel wide: where a pixel differs from its right, lower or lower right neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    edge = (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])
    return np.asarray(edge, np.bool_)


def _widened(contour: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (rows**2 + columns**2 <= reach**2).astype(np.uint8)
    return cv2.dilate(contour.astype(np.uint8), disk) > 0
