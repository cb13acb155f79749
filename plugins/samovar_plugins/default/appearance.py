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
    histogram: NDArray[np.uint8], wanted: NDArray[np.float32], unwanted: NDArray[np.float32]
) -> NDArray[np.float32]:
    """4×n float32: for L, a, b and words, each leaf's mean log ratio of two mixtures of leaves.

    Args:
        histogram: BINS×n uint8, each group of bins summing to about 255.
        wanted, unwanted: n float32, how much of each leaf goes into either mixture.
    """
    bins, n = histogram.shape
    good = np.empty(bins, np.float32)
    bad = np.empty(bins, np.float32)
    for k in range(bins):
        for_it, against = np.float32(0), np.float32(0)
        for i in range(n):
            share = np.float32(histogram[k, i])
            for_it += wanted[i] * share
            against += unwanted[i] * share
        good[k], bad[k] = for_it, against
    out = np.zeros((4, n), np.float32)
    for g in range(4):
        mass_good, mass_bad = np.float32(1e-6), np.float32(1e-6)
        for k in range(GROUPS[g], GROUPS[g + 1]):
            mass_good += good[k]
            mass_bad += bad[k]
        for k in range(GROUPS[g], GROUPS[g + 1]):
            odds = (good[k] / mass_good + np.float32(_FLOOR)) / (bad[k] / mass_bad + np.float32(_FLOOR))
            ratio = np.log(odds) / np.float32(255)
            for i in range(n):
                out[g, i] += ratio * np.float32(histogram[k, i])
    return out
