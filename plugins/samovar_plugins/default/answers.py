"""From verdicts on leaves to answers: the best object, and when asked up to three that could have been meant.

A single click can mean a button, a shirt or a person. Beside the verdict itself, the likeliest candidates are taken as
hypotheses, each is refined by the classifiers for masks as if somebody had drawn it, and all are judged alike. The best
comes first; the others are picked so that the best of the three is expected to be as good as possible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .classify import classify, family_of, tidy
from .evidence import find_ways
from .judging import judge_rows
from .membership import leaf_sums, members
from .queries import Query
from .scene import Scene
from .weights import Weights

__all__ = ["REFINED", "Answer", "Hypotheses", "answer", "hypotheses"]

_CONSIDERED = 30
_BLOCK = 256  # leaves; more in one product and BLAS spreads it over threads, whose meeting takes longer than the work
REFINED = 2
_ALIKE = 0.95  # two answers that overlap more are one
_SLACK = 0.1  # of a box's width or height: a mask no farther from the side reaches it
_LEVELS = np.array([0.4, 0.3, 0.2, 0.15], np.float32)  # then these chances are enough to be in
_BELIEF = 10.0  # how sharply predicted IoUs become chances of being meant


@dataclass(frozen=True)
class Answer:
    """One possible object.

    Attributes:
        chance: n float32, each leaf's probability.
        chosen: n bool, the leaves that are in it.
        score: predicted IoU, 0…1.
    """

    chance: NDArray[np.float32]
    chosen: NDArray[np.bool_]
    score: float


@dataclass(frozen=True)
class Hypotheses:
    """k possible answers to one query, the plain verdict first.

    Attributes:
        chances: k×n float32, leaf probabilities.
        sets: k×n bool, leaves.
        rows: k×JUDGED float32, see `judging.judge_rows`.
    """

    chances: NDArray[np.float32]
    sets: NDArray[np.bool_]
    rows: NDArray[np.float32]


def _overlaps(scene: Scene, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float32]:
    """k×m float32: IoUs of leaf sets."""
    mass = one * scene.area
    inside = np.zeros((len(one), len(other)), np.float32)
    for start in range(0, mass.shape[1], _BLOCK):
        inside += mass[:, start : start + _BLOCK] @ other[:, start : start + _BLOCK].T.astype(np.float32)
    area = mass.sum(axis=1)[:, None] + (other * scene.area).sum(axis=1)[None]
    return np.asarray(inside / (area - inside + 1e-6), np.float32)


def _agreement(scene: Scene, index: NDArray[np.int64], weight: NDArray[np.float32], chosen: NDArray[np.bool_]) -> float:
    """The mean IoU of one leaf set with these candidates, by their weights."""
    pool = scene.order, scene.pool_tree, scene.pool_start, scene.pool_end
    mass = scene.area * chosen
    inside = leaf_sums(index, mass, *pool)
    area = np.exp(scene.pool_features[index, 0].astype(np.float32)) * np.float32(scene.total)
    return float((inside / (area + mass.sum() - inside + np.float32(1e-6))) @ weight)


def _cover(
    iou: NDArray[np.float32], weight: NDArray[np.float32], first: int, count: int, repeats: NDArray[np.bool_]
) -> list[int]:
    """`first`, then greedily the rows after which the weighted best IoU of each column is largest.

    `repeats` (k×k) says which rows are too alike to be taken both.
    """
    out, best = [first], iou[first]
    while len(out) < count:
        gain = np.maximum(iou, best) @ weight
        gain[repeats[out].any(axis=0)] = -1
        pick = int(gain.argmax())
        if gain[pick] < 0:
            break
        out.append(pick)
        best = np.maximum(best, iou[pick])
    return out


def _reaching(scene: Scene, box: NDArray[np.float32]) -> NDArray[np.bool_]:
    """4×n bool: the leaves that come close enough to each side of a box: left, top, right, bottom."""
    slack = _SLACK * np.array([box[2] - box[0], box[3] - box[1]], np.float32)
    return np.concatenate([scene.box[:, :2] <= box[:2] + slack, scene.box[:, 2:] >= box[2:] - slack], axis=1).T


def _decide(scene: Scene, query: Query, chance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The leaves that are likelier in than out; with a box, as many more as it takes to reach all its sides.

    People draw boxes tight (Lempitsky et al., ICCV 2009), so that a mask far from a side lacks something.
    """
    chosen = chance > 0.5
    if not chosen.any():
        chosen = chance >= 0.8 * chance.max()
    chosen = tidy(scene, query, chosen)
    if query.box is None:
        return chosen
    reaching = _reaching(scene, query.box)
    if (reaching & chosen).any(axis=1).all():
        return chosen
    enough = np.where(reaching, chance, np.float32(0)).max(axis=1).min()
    for level in _LEVELS[enough > _LEVELS]:
        more = tidy(scene, query, chance > level)
        if (reaching & more).any(axis=1).all():
            return more
    return chosen


def hypotheses(scene: Scene, query: Query, weights: Weights, refined: int) -> Hypotheses:
    """The plain verdict, and so many likely candidates as they are and as refined."""
    ways = find_ways(scene, query)
    chance, evidence = classify(scene, query, ways, weights)
    chances, sets, origin = [chance], [_decide(scene, query, chance)], [0.0]
    candidates = evidence.candidates
    top = np.argsort(-candidates.weight, kind="stable")[:_CONSIDERED]
    weight = candidates.weight[top] / candidates.weight[top].sum()
    likely = candidates.index[top]
    if refined:
        held = members(likely, scene.order, scene.pool_tree, scene.pool_start, scene.pool_end)
        everything = np.concatenate([sets[0][None], held])
        same = np.eye(len(everything), dtype=np.bool_)
        for pick in _cover(_overlaps(scene, everything, held), weight, 0, 1 + refined, same)[1:]:
            drawn = everything[pick]
            belief = np.where(drawn, np.float32(1), np.float32(0))
            redrawn, _ = classify(scene, replace(query, prior=belief), ways, weights)
            chances += [redrawn, np.where(drawn, np.float32(0.9), np.float32(0.1))]
            sets += [_decide(scene, query, redrawn), drawn]
            origin += [1.0, 2.0]
    stacked = np.stack(sets)
    agreement = np.array([_agreement(scene, likely, weight, one) for one in stacked], np.float32)
    found = np.stack(chances).astype(np.float32)
    rows = judge_rows(scene, query, evidence, found, stacked, agreement, np.array(origin, np.float32))
    return Hypotheses(found, stacked, rows)


def answer(scene: Scene, query: Query, weights: Weights, multimask: bool) -> list[Answer]:
    """The answers to one query, best-scored first: one, or up to three with `multimask`."""
    ambiguous = len(query.positive) == 1 and query.box is None and query.prior is None
    known = hypotheses(scene, query, weights, REFINED if multimask else int(ambiguous))
    # Without a judge: how well each agrees with the plain verdict's probabilities.
    score = weights.probabilities(f"judge_{family_of(query)}", known.rows, known.rows[:, 1])
    order = [int(score.argmax())]
    if multimask:
        belief = np.exp(_BELIEF * (score - score.max())).astype(np.float32)
        iou = _overlaps(scene, known.sets, known.sets)
        order = _cover(iou, belief / belief.sum(), order[0], 3, iou > _ALIKE)
        order.sort(key=lambda k: -float(score[k]))
    return [Answer(known.chances[k], known.sets[k], float(score[k])) for k in order]
