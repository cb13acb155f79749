"""Masks as polygons with holes, and polygons drawn to masks, straight from and to runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.jit import njit
from samovar.masks.outlines import Outlines, outlines, simplified
from samovar.masks.runs import Runs, check_size, empty, from_toggles, offsets_of, portions, read_only
from samovar.masks.transform import union

__all__ = ["Polygon", "Region", "Rule", "from_polygons", "to_polygons"]

Ring: TypeAlias = NDArray[np.float32]
Rule: TypeAlias = Literal["even-odd", "coco"]
Region: TypeAlias = "Polygon | ArrayLike"

_FARTHEST = float(2**24)  # pixels; beyond it float32 no longer tells neighbours apart


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


def from_polygons(instances: Sequence[Iterable[Region]], width: int, height: int, rule: Rule) -> Runs:
    """One mask per instance. See `Masks.from_polygons`."""
    width, height = check_size(width, height)
    if rule not in ("even-odd", "coco"):
        raise MaskError(f'rule must be "even-odd" or "coco"; got {rule!r}')
    rings, groups = _rings(instances)
    points = np.concatenate([np.zeros((0, 2)), *rings])
    offsets = offsets_of(np.array([len(ring) for ring in rings], np.int64))
    if rule == "even-odd":
        owners, positions = _crossings(points, offsets, width, height)
        return from_toggles(groups[owners], positions, len(instances), width, height)
    if not rings:
        return empty(len(instances), width, height)
    owners, positions = _coco_flips(read_only(points), read_only(offsets), width, height)
    parts = from_toggles(owners, positions, len(rings), width, height)
    return union(parts, groups, len(instances))


def _rings(instances: Sequence[Iterable[Region]]) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """All rings, and the instance of each."""
    rings, groups = [], []
    for index, instance in enumerate(instances):
        if isinstance(instance, Polygon):
            raise MaskError(f"instance {index} must be a list of polygons or rings; got one Polygon; pass [polygon]")
        for region in instance:
            for ring in region.rings if isinstance(region, Polygon) else (region,):
                rings.append(_ring(index, ring))
                groups.append(index)
    return rings, np.array(groups, np.int64)


def _ring(index: int, ring: Any) -> NDArray[np.float64]:
    try:
        points = np.asarray(ring, np.float64)
    except (TypeError, ValueError) as error:
        raise MaskError(f"a ring of instance {index} must be K×2 numbers or x1, y1, x2, …; got {ring!r:.60}") from error
    if points.ndim == 1 and points.size % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise MaskError(
            f"a ring of instance {index} must be K×2 points, K ≥ 3, or x1, y1, x2, y2, …; got shape {points.shape}"
        )
    if not (np.abs(points) < _FARTHEST).all():
        raise MaskError(f"a ring of instance {index} has points that are infinite, NaN or beyond 2²⁴ pixels")
    return points


def _crossings(
    points: NDArray[np.float64], offsets: NDArray[np.int64], width: int, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where rings cross the vertical lines through pixel centres: the ring, and the first pixel below the crossing."""
    if len(points) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    following = np.arange(1, len(points) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    ring = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    # Left to right, so that an edge shared by two rings crosses at bit-identical places in both.
    backwards = points[:, 0] > points[following, 0]
    left = np.where(backwards[:, None], points[following], points)
    right = np.where(backwards[:, None], points, points[following])
    first = np.clip(np.ceil(left[:, 0] - 0.5), 0, width).astype(np.int64)
    stop = np.clip(np.ceil(right[:, 0] - 0.5), 0, width).astype(np.int64)
    times = stop - first
    edge = np.repeat(np.arange(len(points)), times)
    columns = first[edge] + np.arange(len(edge)) - offsets_of(times)[edge]
    run, rise = right[edge, 0] - left[edge, 0], right[edge, 1] - left[edge, 1]
    y = left[edge, 1] + rise * ((columns + 0.5 - left[edge, 0]) / run)
    rows = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
    return ring[edge], columns * height + rows


@njit
def _coco_flips(
    points: NDArray[np.float64], offsets: NDArray[np.int64], width: int, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flips of every ring by the rule of the COCO API: edges are walked on a grid five times as fine, and where a walk
    passes the middle of a pixel's width, the pixel whose centre is next below flips.
    """
    rings = np.empty(256, np.int64)
    positions = np.empty(256, np.int64)
    used = 0
    for ring in range(len(offsets) - 1):
        first, count = offsets[ring], offsets[ring + 1] - offsets[ring]
        for k in range(count):
            p, q = first + k, first + (k + 1) % count
            # int() cuts towards zero: so does COCO, and it matters for points left of or above the image.
            x0, y0 = int(5 * points[p, 0] + 0.5), int(5 * points[p, 1] + 0.5)
            x1, y1 = int(5 * points[q, 0] + 0.5), int(5 * points[q, 1] + 0.5)
            flat = abs(x1 - x0) >= abs(y1 - y0)
            if (flat and x0 > x1) or (not flat and y0 > y1):
                x0, y0, x1, y1 = x1, y1, x0, y0
            steps = x1 - x0 if flat else y1 - y0
            if steps == 0:
                continue
            slope = (y1 - y0) / steps if flat else (x1 - x0) / steps
            # Only the stretch that crosses the image's columns can flip anything.
            lean = 1.0 if flat else slope
            if lean == 0.0:
                continue
            enter, leave = -x0 / lean, (5 * width - x0) / lean
            begin = max(0, int(min(enter, leave)) - 2)
            end = min(steps, int(max(enter, leave)) + 2)
            u, v = 0, 0
            for t in range(begin, end + 1):
                u_before, v_before = u, v
                if flat:
                    u, v = x0 + t, int(y0 + slope * t + 0.5)
                else:
                    u, v = int(x0 + slope * t + 0.5), y0 + t
                if t == begin:
                    continue
                low = min(u, u_before)
                if u == u_before or low % 5 != 2 or low < 0 or low // 5 >= width:
                    continue
                y = min(max((min(v, v_before) + 0.5) / 5 - 0.5, 0.0), float(height))
                if used == len(rings):
                    more_rings, more_positions = np.empty(2 * used, np.int64), np.empty(2 * used, np.int64)
                    for i in range(used):
                        more_rings[i], more_positions[i] = rings[i], positions[i]
                    rings, positions = more_rings, more_positions
                rings[used] = ring
                positions[used] = (low // 5) * height + int(np.ceil(y))
                used += 1
    return rings[:used], positions[:used]
