"""Regions as single rings, for formats that know neither holes nor several parts; and the pixel deepest inside a mask.

A hole is joined to its outline by a slit of no width, walked there and back, and so is one part to the next. By the
even-odd rule, and by the winding rule too, a slit covers nothing: the ring draws what the regions are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar.masks import Masks, Polygon

__all__ = ["deepest", "one_ring", "with_slits"]

Ring = NDArray[np.float32]

_PAIRS = 1_000_000  # distances looked at to find the shortest slit; beyond, from the new ring's leftmost point only


def with_slits(polygon: Polygon) -> Ring:
    """The region as one ring, K×2 float32 (x, y): its exterior with a slit to every hole."""
    return _joined(polygon.rings)


def one_ring(polygons: Iterable[Polygon], pairs: int = _PAIRS) -> Ring | None:
    """All regions as one ring, K×2 float32 (x, y); None for no regions."""
    rings = [with_slits(polygon) for polygon in polygons]
    return _joined(rings, pairs) if rings else None


def _joined(rings: Iterable[Ring], pairs: int = _PAIRS) -> Ring:
    whole, *rest = rings
    for ring in rest:
        at, start = _nearest(whole, ring, pairs)
        turned = np.roll(ring, -start, axis=0)
        whole = np.concatenate([whole[: at + 1], turned, turned[:1], whole[at:]])
    return whole


def _nearest(whole: Ring, ring: Ring, pairs: int) -> tuple[int, int]:
    """A point of each between which the slit is short."""
    starts = np.arange(len(ring)) if len(whole) * len(ring) <= pairs else np.array([int(ring[:, 0].argmin())])
    apart = ((whole[:, None] - ring[None, starts]) ** 2).sum(axis=2)
    at, start = divmod(int(apart.argmin()), len(starts))
    return at, int(starts[start])


def deepest(mask: Masks) -> tuple[float, float]:
    """The centre (x, y) of the one mask's pixel that is farthest from its edge; of several the topmost, then leftmost.

    Interactive segmentation is evaluated with clicks there. The image's border is an edge. Distances are exact, as
    whole numbers: OpenCV's exact ones differ in the last digit from call to call, enough to move the click.
    """
    crop, x, y = next(mask.crops())
    row, column = _deepest(np.pad(crop, 1))
    return x + column - 0.5, y + row - 0.5


@njit
def _deepest(inside: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the first largest distance to the background, of which the outermost pixels are part.

    In two passes: the distance within each column, then the lower envelope of parabolas along each row (Felzenszwalb
    and Huttenlocher, "Distance transforms of sampled functions", 2012).
    """
    height, width = inside.shape
    squared = np.zeros((height, width), np.int64)
    for c in range(width):
        run = 0
        for r in range(height):
            run = run + 1 if inside[r, c] else 0
            squared[r, c] = run
        run = 0
        for r in range(height - 1, -1, -1):
            run = run + 1 if inside[r, c] else 0
            squared[r, c] = min(squared[r, c], run) ** 2
    best, best_row, best_column = np.int64(-1), 0, 0
    lowest = np.zeros(width, np.int64)  # the columns whose parabolas make the envelope
    start = np.zeros(width, np.int64)  # the first column that each of them is lowest at
    for r in range(height):
        used = 0
        lowest[0], start[0] = 0, 0
        for c in range(1, width):
            while True:
                o = lowest[used]
                # The first column at which the parabola from c is as low as the one from o.
                over = squared[r, c] + c * c - squared[r, o] - o * o
                from_ = -((-over) // (2 * (c - o)))
                if used == 0 or from_ > start[used]:
                    break
                used -= 1
            if from_ <= start[used]:
                lowest[used] = c
            elif from_ < width:
                used += 1
                lowest[used], start[used] = c, from_
        k = 0
        for c in range(width):
            while k < used and start[k + 1] <= c:
                k += 1
            distance = squared[r, lowest[k]] + (c - lowest[k]) ** 2
            if distance > best:
                best, best_row, best_column = distance, r, c
    return best_row, best_column
