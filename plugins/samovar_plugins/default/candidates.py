"""Which nodes of the trees could be the object that a prompt asks for, and how likely each is.

Candidates are scored by a small network from what they look like (see `nodes`) and how they fit the prompt (see
`fitting`). The scores become weights for a vote on every leaf (see `membership`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fitting import FEWEST, box_rows, point_rows
from .membership import holding, leaf_sums
from .nodes import NODE_FEATURES
from .queries import Query
from .scene import Scene
from .weights import Weights

__all__ = ["SHARPNESS", "Candidates", "find_candidates"]

SHARPNESS = 12.0
_VIOLATION = 3.0
_CLAIMED = 0.2


@dataclass(frozen=True)
class Candidates:
    """k candidates for one query, in pool order.

    Attributes:
        index: k int64 into the pool.
        score: k float32, predicted IoU.
        weight: k float32, summing to 1.
        area: k float32, working pixels.
    """

    index: NDArray[np.int64]
    score: NDArray[np.float32]
    weight: NDArray[np.float32]
    area: NDArray[np.float32]


def _point_scores(scene: Scene, query: Query, weights: Weights) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    total = np.zeros(len(scene.pool_tree), np.float32)
    times = np.zeros(len(scene.pool_tree), np.float32)
    for (x, y), leaf in zip(query.positive, query.positive_leaves):
        chosen, rows = point_rows(scene, float(x), float(y), int(leaf))
        depth = np.minimum(rows[:, NODE_FEATURES + 1], 1)
        plain = 0.2 + 0.3 * depth + 0.3 * rows[:, 10] - 0.15 * rows[:, 13] + 0.1 * (rows[:, 12] - 1)
        total[chosen] += weights.probabilities("candidate_point", rows, plain.astype(np.float32))
        times[chosen] += 1
    index = np.flatnonzero(times > 0)
    return index, total[index] / times[index]


def find_candidates(scene: Scene, query: Query, weights: Weights) -> Candidates:
    """Candidates for a query, with predicted IoUs and weights."""
    if query.prior is not None:
        index, score = _prior_scores(scene, query.prior)
    elif query.box is not None:
        index, rows = box_rows(scene, query.box)
        score = weights.probabilities("candidate_box", rows, rows[:, NODE_FEATURES])
    elif len(query.positive):
        index, score = _point_scores(scene, query, weights)
    else:
        index = np.arange(len(scene.pool_tree))
        score = scene.pool_features[:, 10].astype(np.float32)
    wrong = np.zeros(len(index), np.float32)
    for leaf in query.positive_leaves:
        wrong += ~holding(int(leaf), scene.order, scene.pool_tree, scene.pool_start, scene.pool_end)[index]
    for leaf in query.negative_leaves:
        wrong += holding(int(leaf), scene.order, scene.pool_tree, scene.pool_start, scene.pool_end)[index]
    odds = SHARPNESS * score - _VIOLATION * wrong
    weight = np.exp(odds - odds.max())
    area = np.exp(scene.pool_features[index, 0].astype(np.float32)) * np.float32(scene.total)
    return Candidates(index, score.astype(np.float32), (weight / weight.sum()).astype(np.float32), area)


def _prior_scores(scene: Scene, prior: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    everything = np.arange(len(scene.pool_tree))
    mass = scene.area * prior
    inside = leaf_sums(everything, mass, scene.order, scene.pool_tree, scene.pool_start, scene.pool_end)
    area = np.exp(scene.pool_features[:, 0].astype(np.float32)) * np.float32(scene.total)
    iou = inside / np.maximum(area + mass.sum() - inside, 1e-6)
    index = np.flatnonzero(iou >= np.float32(_CLAIMED))
    if len(index) < FEWEST:
        few = min(FEWEST, len(iou))
        index = np.flatnonzero(iou >= np.partition(iou, -few)[-few])
    return index, iou[index]
