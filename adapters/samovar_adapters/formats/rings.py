"""Regions as single rings, for formats that know neither holes nor several parts.

A hole is joined to its outline by a slit of no width, walked there and back, and so is one part to the next. By the
even-odd rule, and by the winding rule too, a slit covers nothing: the ring draws what the regions are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from samovar.masks import Polygon

__all__ = ["one_ring", "with_slits"]

Ring = NDArray[np.float32]

_PAIRS = 1_000_000  # distances looked at to find the shortest slit; beyond, from the new ring's leftmost point only


def with_slits(polygon: Polygon) -> Ring:
    """The region as one ring, K×2 float32 (x, y): its exterior with a slit to every hole."""
    return _joined(polygon.rings)


def one_ring(polygons: Iterable[Polygon]) -> Ring | None:
    """All regions as one ring, K×2 float32 (x, y); None for no regions."""
    rings = [with_slits(polygon) for polygon in polygons]
    return _joined(rings) if rings else None


def _joined(rings: Iterable[Ring]) -> Ring:
    whole, *rest = rings
    for ring in rest:
        at, start = _nearest(whole, ring)
        turned = np.roll(ring, -start, axis=0)
        whole = np.concatenate([whole[: at + 1], turned, turned[:1], whole[at:]])
    return whole


def _nearest(whole: Ring, ring: Ring) -> tuple[int, int]:
    """A point of each between which the slit is short."""
    starts = np.arange(len(ring)) if len(whole) * len(ring) <= _PAIRS else np.array([int(ring[:, 0].argmin())])
    apart = ((whole[:, None] - ring[None, starts]) ** 2).sum(axis=2)
    at, start = divmod(int(apart.argmin()), len(starts))
    return at, int(starts[start])
