"""Otsu's threshold (A threshold selection method from gray-level histograms, 1979)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def separation(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How well each threshold k + 0.5 splits the grey levels in two: 256 numbers in [0, 1].

    It is the share of the variance that lies between the two classes; 0 where one of them is empty.
    """
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    below = np.cumsum(share)
    mean_below = np.cumsum(share * levels)
    mean = mean_below[-1]
    variance = float(np.sum(share * (levels - mean) ** 2))
    product = below * (1 - below)
    valid = (product > 1e-12) & (variance > 0)
    between = np.zeros(256)
    between[valid] = (mean * below[valid] - mean_below[valid]) ** 2 / product[valid]
    return np.clip(between / max(variance, 1e-12), 0, 1)
