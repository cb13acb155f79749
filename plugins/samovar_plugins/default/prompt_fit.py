"""Which region proposals could be the object that a prompt asks for, and how likely each is.

Proposals are scored by a small network from what they look like (see `proposals`) and how they fit the prompt. The
scores become weights for a vote on every superpixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .encoding import Query, RegionGraph, nearest_pixel
from .network import Weights
from .proposals import NODE_FEATURES, holding, superpixel_sums

__all__ = [
    "BOX_FEATURES",
    "FEWEST",
    "POINT_FEATURES",
    "SHARPNESS",
    "Proposals",
    "box_rows",
    "point_rows",
    "score_proposals",
]

POINT_FEATURES = NODE_FEATURES + 8
BOX_FEATURES = NODE_FEATURES + 10
FEWEST = 20
"""So many proposals are looked at, however badly they fit."""
_FITTING = 0.25


@njit
def _point_geometry(
    chosen: NDArray[np.int64],
    x: float,
    y: float,
    gap: NDArray[np.float32],
    frame_gap: float,
    leaf_share: float,
    order: NDArray[np.uint16],
    tree: NDArray[np.uint8],
    start: NDArray[np.uint16],
    end: NDArray[np.uint16],
    box: NDArray[np.float32],
    about: NDArray[np.float32],
    rows: int,
    cols: int,
    out: NDArray[np.float32],
) -> None:
    """Fill the prompt's columns: depth of the point inside the proposal, its offset from the centre, …"""
    trees, n = order.shape
    before = np.full((trees, n + 1), np.float32(1e9))
    after = np.full((trees, n + 1), np.float32(1e9))
    for t in range(trees):
        for i in range(n):
            before[t, i + 1] = min(before[t, i], gap[order[t, i]])
        for i in range(n - 1, -1, -1):
            after[t, i] = min(after[t, i + 1], gap[order[t, i]])
    base = about.shape[1]
    total = rows * cols
    for k in range(chosen.shape[0]):
        c = chosen[k]
        t = tree[c]
        depth = min(min(before[t, start[c]], after[t, end[c]]), frame_gap)
        for f in range(base):
            out[k, f] = about[k, f]
        radius = np.sqrt(np.exp(about[k, 0]) * total / np.pi)
        wide, high = box[c, 2] - box[c, 0], box[c, 3] - box[c, 1]
        dx, dy = x - about[k, 14] * cols, y - about[k, 15] * rows
        out[k, base] = depth / radius
        out[k, base + 1] = depth / min(wide, high) * 2
        out[k, base + 2] = abs(x - (box[c, 0] + box[c, 2]) / 2) / wide
        out[k, base + 3] = abs(y - (box[c, 1] + box[c, 3]) / 2) / high
        out[k, base + 4] = np.sqrt(dx * dx + dy * dy) / radius
        out[k, base + 5] = np.log(depth + 1)
        out[k, base + 6] = np.sqrt(leaf_share) * 10
        out[k, base + 7] = np.log(frame_gap + 1)


@njit
def _box_fit(box: NDArray[np.float32], proposal_box: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty(proposal_box.shape[0], np.float32)
    area = (box[2] - box[0]) * (box[3] - box[1])
    for c in range(proposal_box.shape[0]):
        wide = min(proposal_box[c, 2], box[2]) - max(proposal_box[c, 0], box[0])
        high = min(proposal_box[c, 3], box[3]) - max(proposal_box[c, 1], box[1])
        inside = max(wide, np.float32(0)) * max(high, np.float32(0))
        own = (proposal_box[c, 2] - proposal_box[c, 0]) * (proposal_box[c, 3] - proposal_box[c, 1])
        out[c] = inside / (area + own - inside)
    return out


def point_rows(
    graph: RegionGraph, x: float, y: float, superpixel: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The proposals under a point (working pixels) and their k×POINT_FEATURES features."""
    chosen = np.flatnonzero(holding(superpixel, *graph.pool))
    rows, cols = graph.frame.rows, graph.frame.cols
    frame_gap = max(min(x, y, cols - x, rows - y), 0.0) + 0.5
    gap = nearest_pixel(graph.labels, len(graph.area), x, y, frame_gap)  # no depth inside a proposal is larger
    about = graph.proposal_features[chosen].astype(np.float32)
    out = np.empty((len(chosen), POINT_FEATURES), np.float32)
    _point_geometry(
        chosen,
        x,
        y,
        gap,
        frame_gap,
        float(graph.area[superpixel]) / graph.total,
        *graph.pool,
        graph.proposal_box,
        about,
        rows,
        cols,
        out,
    )
    return chosen, out


@njit
def _box_geometry(
    chosen: NDArray[np.int64],
    fit: NDArray[np.float32],
    box: NDArray[np.float32],
    proposal_box: NDArray[np.float32],
    about: NDArray[np.float32],
    total: float,
) -> NDArray[np.float32]:
    """k×BOX_FEATURES: the proposals' own features, then how each side meets the box's."""
    base = about.shape[1]
    out = np.empty((chosen.shape[0], BOX_FEATURES), np.float32)
    wide, high = max(box[2] - box[0], np.float32(1)), max(box[3] - box[1], np.float32(1))
    for k in range(chosen.shape[0]):
        c = chosen[k]
        for f in range(base):
            out[k, f] = about[k, f]
        most = np.float32(0)
        out[k, base] = fit[c]
        for side in range(4):
            gap = (proposal_box[c, side] - box[side]) / (wide if side % 2 == 0 else high)
            out[k, base + 1 + side] = gap
            most = max(most, abs(gap))
        out[k, base + 5] = np.exp(about[k, 0]) * total / (wide * high)
        out[k, base + 6] = abs(out[k, base + 1]) + abs(out[k, base + 3])
        out[k, base + 7] = abs(out[k, base + 2]) + abs(out[k, base + 4])
        out[k, base + 8] = most
        out[k, base + 9] = np.log(wide * high / total)
    return out


def box_rows(graph: RegionGraph, box: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The proposals that fit a box (working pixels) at all, and their k×BOX_FEATURES features."""
    fit = _box_fit(box, graph.proposal_box)
    chosen = np.flatnonzero(fit >= np.float32(_FITTING))
    if len(chosen) < FEWEST:
        chosen = np.sort(np.argsort(-fit, kind="stable")[:FEWEST])
    about = graph.proposal_features[chosen].astype(np.float32)
    return chosen, _box_geometry(chosen, fit, box, graph.proposal_box, about, graph.total)


SHARPNESS = 12.0
_VIOLATION = 3.0
_CLAIMED = 0.2


@dataclass(frozen=True)
class Proposals:
    """k proposals for one query, in pool order.

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


def _point_scores(graph: RegionGraph, query: Query, weights: Weights) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    total = np.zeros(len(graph.proposal_tree), np.float32)
    times = np.zeros(len(graph.proposal_tree), np.float32)
    for (x, y), superpixel in zip(query.positive, query.positive_superpixels):
        chosen, rows = point_rows(graph, float(x), float(y), int(superpixel))
        depth = np.minimum(rows[:, NODE_FEATURES + 1], 1)
        plain = 0.2 + 0.3 * depth + 0.3 * rows[:, 10] - 0.15 * rows[:, 13] + 0.1 * (rows[:, 12] - 1)
        total[chosen] += weights.probabilities("candidate_point", rows, plain.astype(np.float32))
        times[chosen] += 1
    index = np.flatnonzero(times > 0)
    return index, total[index] / times[index]


def score_proposals(graph: RegionGraph, query: Query, weights: Weights) -> Proposals:
    """Proposals for a query, with predicted IoUs and weights."""
    if query.prior is not None:
        index, score = _prior_scores(graph, query.prior)
    elif query.box is not None:
        index, rows = box_rows(graph, query.box)
        score = weights.probabilities("candidate_box", rows, rows[:, NODE_FEATURES])
    elif len(query.positive):
        index, score = _point_scores(graph, query, weights)
    else:
        index = np.arange(len(graph.proposal_tree))
        score = graph.proposal_features[:, 10].astype(np.float32)
    wrong = np.zeros(len(index), np.float32)
    for superpixel in query.positive_superpixels:
        wrong += ~holding(int(superpixel), *graph.pool)[index]
    for superpixel in query.negative_superpixels:
        wrong += holding(int(superpixel), *graph.pool)[index]
    odds = SHARPNESS * score - _VIOLATION * wrong
    weight = np.exp(odds - odds.max())
    area = np.exp(graph.proposal_features[index, 0].astype(np.float32)) * np.float32(graph.total)
    return Proposals(index, score.astype(np.float32), (weight / weight.sum()).astype(np.float32), area)


def _prior_scores(graph: RegionGraph, prior: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    everything = np.arange(len(graph.proposal_tree))
    mass = graph.area * prior
    inside = superpixel_sums(everything, mass, *graph.pool)
    area = np.exp(graph.proposal_features[:, 0].astype(np.float32)) * np.float32(graph.total)
    iou = inside / np.maximum(area + mass.sum() - inside, 1e-6)
    index = np.flatnonzero(iou >= np.float32(_CLAIMED))
    if len(index) < FEWEST:
        few = min(FEWEST, len(iou))
        index = np.flatnonzero(iou >= np.partition(iou, -few)[-few])
    return index, iou[index]
