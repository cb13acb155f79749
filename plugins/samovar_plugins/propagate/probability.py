"""From evidence to masks: log odds of pixels, fitted to the image's edges, shared between objects, cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "clean", "compete", "log_odds", "probability", "settle", "signed_distance"]

Field = NDArray[np.float32]
"""h×w float32."""

_RADIUS, _EDGE = 4, 5e-4  # of the guided filter: pixels, and squared contrast that it keeps
_SOFT = 1.5  # pixels over which a mask's edge fades
_ISLAND = 0.02  # share of the mask that a part needs to stay
_GAP = 1.0  # of the mask's size, the square root of its area: how far a part may be from the largest one
_HOLE = 0.01  # share of the frame below which a hole is filled


def probability(odds: Field) -> Field:
    """1 / (1 + e^−odds)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -20, 20))), np.float32)


def log_odds(probabilities: Field) -> Field:
    """Inverse of `probability`, within ±6.2."""
    kept = np.clip(probabilities, 0.002, 0.998)
    return np.asarray(np.log(kept / (1 - kept)), np.float32)


def signed_distance(mask: NDArray[np.bool_]) -> Field:
    """h×w float32 distance to the mask's edge in pixels, positive inside."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(inside - outside, np.float32)


def settle(odds: Field, grey: NDArray[np.uint8]) -> Field:
    """Probabilities whose edges lie on the image's (guided filter of He et al., ECCV 2010)."""
    guide, likely = grey.astype(np.float32) / 255, probability(odds)
    mean_guide, mean_likely = _mean(guide), _mean(likely)
    spread = _mean(guide * guide) - mean_guide**2 + np.float32(_EDGE)
    slope = (_mean(guide * likely) - mean_guide * mean_likely) / spread
    return np.asarray(_mean(slope) * guide + _mean(mean_likely - slope * mean_guide), np.float32)


def _mean(field: NDArray[Any]) -> Field:
    return np.asarray(cv2.boxFilter(field, -1, (2 * _RADIUS + 1, 2 * _RADIUS + 1)), np.float32)


def compete(odds: Sequence[Field], others: Sequence[Field] = ()) -> list[Field]:
    """Every object's log odds against the likeliest of the rest: no pixel is likely to be two objects.

    Args:
        others: rivals that are not asked for themselves.
    """
    if len(odds) + len(others) < 2:
        return list(odds)
    first, second = np.sort(np.stack([*odds, *others]), axis=0)[[-1, -2]]
    return [mine - np.maximum(np.where(mine == first, second, first), 0) for mine in odds]


def clean(mask: NDArray[np.bool_], expected: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Field]:
    """The mask without islands far off or where nothing was expected, without small holes; and with soft edges.

    An object may be in parts, as behind a post. What moves away from it is another.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    common = np.bincount(parts[expected], minlength=count)
    kept = (common > 0.3 * areas) & (areas > _ISLAND * np.count_nonzero(mask))
    kept[0] = False
    if np.count_nonzero(kept) > 1:
        largest = int(np.argmax(np.where(kept, areas, 0)))
        gap = cv2.distanceTransform((parts != largest).astype(np.uint8), cv2.DIST_L2, 3)
        for part in np.flatnonzero(kept):
            kept[part] = gap[parts == part].min() < _GAP * np.sqrt(areas[largest])
    mask = kept[parts]
    _, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8))
    hole = stats[:, cv2.CC_STAT_AREA] < _HOLE * mask.size
    hole[0] = False
    mask = mask | hole[parts]
    return mask, probability(signed_distance(mask) / _SOFT)
