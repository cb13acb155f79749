"""Masks as polygons with holes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from samovar.errors import MaskError
from samovar.masks.outlines import Outlines, outlines
from samovar.masks.runs import Runs, read_only
from samovar.masks.simplify import simplified
from samovar.masks.spans import portions

__all__ = ["Polygon", "to_polygons"]

Ring = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected region.

    Attributes:
        exterior: K×2 float32 (x, y) in pixels, K ≥ 3, clockwise on the screen; the last point joins the first.
        holes: such rings inside it, counter-clockwise.
    """

    exterior: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The exterior, then the holes."""
        return (self.exterior, *self.holes)


def to_polygons(runs: Runs, tolerance: float) -> list[list[Polygon]]:
    """For every mask its regions, largest first; an empty mask has none. See `Masks.to_polygons`."""
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise MaskError(f"tolerance must be 0 or more pixels; got {tolerance!r}")
    return [mask for part in portions(runs) for mask in _polygons(outlines(runs.take(part)), tolerance, part)]


def _polygons(rings: Outlines, tolerance: float, part: slice) -> list[list[Polygon]]:
    points, offsets = rings.points.astype(np.float64), rings.offsets
    if tolerance > 0:
        points, offsets = simplified(points, offsets, tolerance)
    flat = read_only(points.astype(np.float32))
    masks: list[list[Polygon]] = [[] for _ in range(part.start, part.stop)]
    starts = [*np.flatnonzero(~rings.holes).tolist(), len(rings.holes)]
    bounds = offsets.tolist()
    for first, stop in pairwise(starts):
        exterior, *holes = (flat[bounds[ring] : bounds[ring + 1]] for ring in range(first, stop))
        masks[int(rings.owners[first])].append(Polygon(exterior, tuple(holes)))
    return masks
