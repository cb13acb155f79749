"""Points along the middle of a band of text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["centre_line"]

_MOST = 5  # more points than this only repeat what the box already says


def centre_line(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points inside `polygon`, spread evenly along its length and halfway across it.

    About one for every square that fits into the band, at least one and at most five. Where the band bends so far that
    it is crossed more than once, the point lies in the broadest crossing.

    Args:
        polygon: K×2 (x, y), K ≥ 3, not all on one line.

    Returns:
        P×2 (x, y), in order along the longer axis; all of them strictly inside.
    """
    middle = polygon.mean(axis=0)
    axes = np.linalg.svd(polygon - middle, full_matrices=False)[2]  # rows: along the text, across it
    if axes[0][np.abs(axes[0]).argmax()] < 0:
        axes = -axes
    local = (polygon - middle) @ axes.T
    low, high = local[:, 0].min(), local[:, 0].max()
    area = abs(_cross(local, np.roll(local, -1, axis=0)).sum()) / 2
    count = int(np.clip(round((high - low) ** 2 / max(area, 1e-9)), 1, _MOST))
    stations = low + (np.arange(count) + 0.5) / count * (high - low)
    along: NDArray[np.float64] = np.array([(u, _middle_of_broadest(local, u)) for u in stations])
    points: NDArray[np.float64] = along @ axes + middle
    return points


def _middle_of_broadest(local: NDArray[np.float64], u: float) -> float:
    """Halfway through the broadest stretch that is inside the polygon on the line across it at `u`."""
    start, stop = local, np.roll(local, -1, axis=0)
    crossed = (start[:, 0] <= u) != (stop[:, 0] <= u)
    start, stop = start[crossed], stop[crossed]
    part = (u - start[:, 0]) / (stop[:, 0] - start[:, 0])
    v = np.sort(start[:, 1] + part * (stop[:, 1] - start[:, 1])).reshape(-1, 2)
    return float(v[(v[:, 1] - v[:, 0]).argmax()].mean())


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    crossed: NDArray[np.float64] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return crossed
