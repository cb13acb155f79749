"""Does a leaf look more like what is wanted or like what is not: log-likelihood ratios of histograms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .leaves import GROUPS

__all__ = ["likelihood_ratios"]

_FLOOR = 0.004


@njit(fastmath=True)
def likelihood_ratios(
    histogram: NDArray[np.uint8],
    wanted: NDArray[np.float32],
    unwanted: NDArray[np.float32],
    active: NDArray[np.int64],
) -> NDArray[np.float32]:
    """a×4 float32: for L, a, b and words, each active leaf's mean log ratio of two mixtures of leaves.

    Args:
        histogram: n×BINS uint8, each group of bins summing to about 255.
        wanted, unwanted: n float32, how much of each leaf goes into either mixture.
        active: a int64, the leaves asked about.
    """
    n, bins = histogram.shape
    good = np.zeros(bins, np.float32)
    bad = np.zeros(bins, np.float32)
    for i in range(n):
        g, b = wanted[i], unwanted[i]
        if g > np.float32(1e-6):
            for k in range(bins):
                good[k] += g * np.float32(histogram[i, k])
        if b > np.float32(1e-6):
            for k in range(bins):
                bad[k] += b * np.float32(histogram[i, k])
    ratio = np.zeros(bins, np.float32)
    for g in range(4):
        mass_good, mass_bad = np.float32(1e-6), np.float32(1e-6)
        for k in range(GROUPS[g], GROUPS[g + 1]):
            mass_good += good[k]
            mass_bad += bad[k]
        for k in range(GROUPS[g], GROUPS[g + 1]):
            share = (good[k] / mass_good + np.float32(_FLOOR)) / (bad[k] / mass_bad + np.float32(_FLOOR))
            ratio[k] = np.log(share) / np.float32(255)
    out = np.empty((active.shape[0], 4), np.float32)
    for m in range(active.shape[0]):
        i = active[m]
        for g in range(4):
            total = np.float32(0)
            for k in range(GROUPS[g], GROUPS[g + 1]):
                total += ratio[k] * np.float32(histogram[i, k])
            out[m, g] = total
    return out
