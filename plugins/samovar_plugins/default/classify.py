"""Verdict on every leaf: two small classifiers, the second seeing the first one's answers, then tidying up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .candidates import find_candidates
from .evidence import Evidence, Ways, first_evidence, second_evidence
from .graph import components
from .queries import Query
from .scene import Scene
from .weights import Weights

__all__ = ["classify", "family_of", "first_verdict", "tidy"]

_SURE = 0.85


def family_of(query: Query) -> str:
    """Which set of classifiers answers a query: those for masks, boxes or points."""
    if query.prior is not None:
        return "mask"
    return "point" if query.box is None else "box"


def first_verdict(scene: Scene, query: Query, evidence: Evidence, weights: Weights) -> NDArray[np.float32]:
    """n float32: each leaf's probability by its first evidence alone."""
    rows = evidence.rows
    plain = rows[:, 0] * 0.6 + 0.2 + 0.1 * np.tanh(rows[:, 12:16].sum(axis=1)) if query.prior is None else rows[:, 29]
    chance = np.zeros(len(scene.area), np.float32)
    chance[evidence.active] = weights.probabilities(f"{family_of(query)}_first", rows, plain)
    return chance


def classify(scene: Scene, query: Query, ways: Ways, weights: Weights) -> tuple[NDArray[np.float32], Evidence]:
    """Each leaf's probability of being in the object (n float32), and the evidence that gave it."""
    evidence = first_evidence(scene, query, ways, find_candidates(scene, query, weights))
    chance = first_verdict(scene, query, evidence, weights)
    second = second_evidence(scene, evidence, chance)
    plain = chance[evidence.active]
    chance[evidence.active] = weights.probabilities(f"{family_of(query)}_second", second, plain)
    for leaf in query.positive_leaves:
        chance[leaf] = max(chance[leaf], np.float32(_SURE))
    for leaf in query.negative_leaves:
        chance[leaf] = min(chance[leaf], np.float32(1 - _SURE))
    if query.box is not None:
        chance[evidence.cover < 0.2] = 0
        if not (chance > 0).any():
            chance[int(evidence.cover.argmax())] = 1
    return chance, evidence


@njit
def _tidied(
    piece: NDArray[np.int32],
    found: int,
    chosen: NDArray[np.bool_],
    area: NDArray[np.float32],
    rim: NDArray[np.float32],
    positive: NDArray[np.int64],
    negative: NDArray[np.int64],
) -> NDArray[np.bool_]:
    mass, edge = np.zeros(found), np.zeros(found)
    wanted, keep = np.zeros(found, np.bool_), np.zeros(found, np.bool_)
    for i in range(piece.shape[0]):
        mass[piece[i]] += area[i]
        edge[piece[i]] += rim[i]
        wanted[piece[i]] = chosen[i]
    clicked = False
    for leaf in positive:
        if wanted[piece[leaf]]:
            keep[piece[leaf]] = True
            clicked = True
    largest, size = 0.0, 0.0
    for p in range(found):
        if wanted[p]:
            largest = max(largest, mass[p])
    for p in range(found):
        if wanted[p] and not clicked:
            keep[p] = mass[p] >= 0.15 * largest
        if keep[p]:
            size += mass[p]
    for p in range(found):
        if not wanted[p] and edge[p] == 0 and mass[p] < 0.03 * size:
            keep[p] = True
            for leaf in negative:
                if piece[leaf] == p:
                    keep[p] = False
    out = np.empty(piece.shape[0], np.bool_)
    for i in range(piece.shape[0]):
        out[i] = keep[piece[i]]
    return out


def tidy(scene: Scene, query: Query, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the pieces that the points are in (without points, all of some size), and fill small holes."""
    piece, found = components(scene.offsets, scene.neighbour, chosen)
    return _tidied(piece, found, chosen, scene.area, scene.rim, query.positive_leaves, query.negative_leaves)
