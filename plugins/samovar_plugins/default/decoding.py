"""From features to answers: a probability for every superpixel, the best object, and when asked up to three.

Two small classifiers give the unary probabilities, the second seeing the first one's answers; then they are tidied up.
A single click can mean a button, a shirt or a person. Beside the plain answer, the likeliest proposals are taken as
hypotheses, each is refined by the classifiers for masks as if somebody had drawn it, and an IoU head scores all alike.
The best comes first; the others are picked so that the best of the three is expected to be as good as possible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .encoding import Query, RegionGraph
from .features import Features, PromptGeometry, find_geometry, first_features, second_features
from .network import Weights
from .prompt_fit import score_proposals
from .proposals import members, superpixel_sums
from .rag import components

__all__ = [
    "IOU_FEATURES",
    "REFINED",
    "Answer",
    "Hypotheses",
    "answer",
    "classify",
    "family_of",
    "first_unary",
    "hypotheses",
    "iou_head_rows",
    "overlaps",
    "tidy",
]

_SURE = 0.85


def family_of(query: Query) -> str:
    """Which set of classifiers answers a query: those for masks, boxes or points."""
    if query.prior is not None:
        return "mask"
    return "point" if query.box is None else "box"


def first_unary(graph: RegionGraph, query: Query, features: Features, weights: Weights) -> NDArray[np.float32]:
    """n float32: each superpixel's probability by its first features alone."""
    rows = features.rows
    plain = rows[:, 0] * 0.6 + 0.2 + 0.1 * np.tanh(rows[:, 12:16].sum(axis=1)) if query.prior is None else rows[:, 29]
    unary = np.zeros(len(graph.area), np.float32)
    unary[features.active] = weights.probabilities(f"{family_of(query)}_first", rows, plain)
    return unary


def classify(
    graph: RegionGraph, query: Query, geometry: PromptGeometry, weights: Weights
) -> tuple[NDArray[np.float32], Features]:
    """Each superpixel's probability of being in the object (n float32), and the features that gave it."""
    features = first_features(graph, query, geometry, score_proposals(graph, query, weights))
    unary = first_unary(graph, query, features, weights)
    second = second_features(graph, features, unary)
    plain = unary[features.active]
    unary[features.active] = weights.probabilities(f"{family_of(query)}_second", second, plain)
    for superpixel in query.positive_superpixels:
        unary[superpixel] = max(unary[superpixel], np.float32(_SURE))
    for superpixel in query.negative_superpixels:
        unary[superpixel] = min(unary[superpixel], np.float32(1 - _SURE))
    if query.box is not None:
        unary[features.cover < 0.2] = 0
        if not (unary > 0).any():
            unary[int(features.cover.argmax())] = 1
    return unary, features


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
    for superpixel in positive:
        if wanted[piece[superpixel]]:
            keep[piece[superpixel]] = True
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
            for superpixel in negative:
                if piece[superpixel] == p:
                    keep[p] = False
    out = np.empty(piece.shape[0], np.bool_)
    for i in range(piece.shape[0]):
        out[i] = keep[piece[i]]
    return out


def tidy(graph: RegionGraph, query: Query, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the pieces that the points are in (without points, all of some size), and fill small holes."""
    piece, found = components(graph.offsets, graph.neighbour, chosen)
    return _tidied(piece, found, chosen, graph.area, graph.rim, query.positive_superpixels, query.negative_superpixels)


IOU_FEATURES = 24
_CELLS = 64  # a mask's depth is measured on at most this many cells a side


@njit
def _outlines(
    sets: NDArray[np.bool_],
    first: NDArray[np.uint16],
    second: NDArray[np.uint16],
    length: NDArray[np.float32],
    strength: NDArray[np.float32],
    unary: NDArray[np.float32],
) -> NDArray[np.float32]:
    """k×5: outline length, mean and mean square strength along it, mean strength inside, mean unary just outside."""
    out = np.zeros((sets.shape[0], 5), np.float32)
    for k in range(sets.shape[0]):
        edge, strong, square, inner, inner_strong, beyond = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for e in range(first.shape[0]):
            a, b = sets[k, first[e]], sets[k, second[e]]
            if a and b:
                inner += length[e]
                inner_strong += length[e] * strength[e]
            elif a or b:
                edge += length[e]
                strong += length[e] * strength[e]
                square += length[e] * strength[e] * strength[e]
                beyond += length[e] * unary[second[e] if a else first[e]]
        out[k, 0] = edge
        out[k, 1] = strong / (edge + 1e-6)
        out[k, 2] = square / (edge + 1e-6)
        out[k, 3] = inner_strong / (inner + 1e-6)
        out[k, 4] = beyond / (edge + 1e-6)
    return out


@njit
def _bounds(sets: NDArray[np.bool_], box: NDArray[np.int16]) -> NDArray[np.int64]:
    """k×4: the box around the superpixels of each set, working pixels."""
    out = np.zeros((sets.shape[0], 4), np.int64)
    for k in range(sets.shape[0]):
        x1, y1, x2, y2 = 1 << 30, 1 << 30, 0, 0
        for i in range(box.shape[0]):
            if sets[k, i]:
                x1, y1 = min(x1, box[i, 0]), min(y1, box[i, 1])
                x2, y2 = max(x2, box[i, 2]), max(y2, box[i, 3])
        out[k, 0], out[k, 1], out[k, 2], out[k, 3] = x1, y1, x2, y2
    return out


@njit
def _framed(
    chosen: NDArray[np.bool_], labels: NDArray[np.uint16], left: int, top: int, right: int, bottom: int, step: int
) -> NDArray[np.uint8]:
    """Whether every `step`-th working pixel of a window is in the set, with a frame of pixels around that are not."""
    rows, cols = (bottom - top + step - 1) // step, (right - left + step - 1) // step
    out = np.zeros((rows + 2, cols + 2), np.uint8)
    for r in range(rows):
        for c in range(cols):
            out[r + 1, c + 1] = chosen[labels[top + r * step, left + c * step]]
    return out


def _depths(
    graph: RegionGraph, query: Query, chosen: NDArray[np.bool_], bounds: NDArray[np.int64]
) -> tuple[float, float]:
    """The deepest place inside the superpixels and the mean depth of the positive points, working pixels."""
    left, top, right, bottom = bounds.tolist()
    step = max(1, -(-max(right - left, bottom - top) // _CELLS))
    framed = _framed(chosen, graph.labels, left, top, right, bottom, step)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, cols = depth.shape
    mean = 0.0
    for x, y in query.positive.tolist():
        row, col = min(max(int((y - top) / step), 0), rows - 1), min(max(int((x - left) / step), 0), cols - 1)
        mean += float(depth[row, col]) / len(query.positive)
    return float(depth.max()) * step, mean * step


def iou_head_rows(
    graph: RegionGraph,
    query: Query,
    features: Features,
    unaries: NDArray[np.float32],
    sets: NDArray[np.bool_],
    agreement: NDArray[np.float32],
    origin: NDArray[np.float32],
) -> NDArray[np.float32]:
    """k×IOU_FEATURES float32: what is known of k answers.

    Args:
        unaries: k×n float32, the superpixel probabilities behind each.
        sets: k×n bool, the superpixels of each.
        agreement: k float32, expected IoU with the proposals' vote.
        origin: k float32, how each came about.
    """
    mass = sets * graph.area
    area = np.maximum(mass.sum(axis=1), 1)
    main = unaries[0]
    inside = (mass * unaries).sum(axis=1)
    own = inside / (area + ((~sets) * unaries) @ graph.area + 1e-6)
    with_main = (mass @ main) / (area + graph.area @ main - mass @ main + 1e-6)
    lines = _outlines(sets, graph.edge_first, graph.edge_second, graph.edge_length, graph.edge_strength, main)
    rim = sets @ graph.rim
    out = np.zeros((len(sets), IOU_FEATURES), np.float32)
    out[:, 0] = own
    out[:, 1] = with_main
    out[:, 2] = agreement
    out[:, 3] = np.log(area / graph.total)
    out[:, 4] = rim / (lines[:, 0] + rim + 1e-6)
    out[:, 5] = np.log((lines[:, 0] + rim) ** 2 / (12.566 * area) + 0.05)
    out[:, 6:9] = lines[:, 1:4]
    out[:, 9] = lines[:, 4]
    out[:, 10] = origin
    out[:, 11] = features.proposals.score.max()
    out[:, 12] = inside / area
    bounds = _bounds(sets, graph.box)
    x1, y1, x2, y2 = bounds.T.astype(np.float64)
    out[:, 13] = area / ((x2 - x1) * (y2 - y1))
    out[:, 14] = np.log((x2 - x1) / (y2 - y1))
    if query.box is not None:
        left, top, right, bottom = (float(side) for side in query.box)
        wide, high = max(right - left, 1.0), max(bottom - top, 1.0)
        gaps = np.abs([(x1 - left) / wide, (y1 - top) / high, (right - x2) / wide, (bottom - y2) / high])
        out[:, 15] = np.minimum(gaps.sum(axis=0), 3)
        out[:, 16] = np.minimum(gaps.max(axis=0), 3)
        out[:, 17] = area / (wide * high)
    if len(query.positive):
        for k, chosen in enumerate(sets):
            deepest, depth = _depths(graph, query, chosen, bounds[k])
            out[k, 18] = depth / max(deepest, 1)
            out[k, 19] = deepest / np.sqrt(area[k])
            out[k, 20] = np.log(depth + 1)
    out[:, 21] = len(query.positive)
    out[:, 22] = len(query.negative)
    if query.prior is not None:
        claimed = mass @ query.prior
        out[:, 23] = claimed / (area + graph.area @ query.prior - claimed + 1e-6)
    return out


_CONSIDERED = 30
_BLOCK = (
    256  # superpixels; more in one product and BLAS spreads it over threads, whose meeting takes longer than the work
)
REFINED = 2
_ALIKE = 0.95  # two answers that overlap more are one
_SLACK = 0.1  # of a box's width or height: a mask no farther from the side reaches it
_LEVELS = np.array([0.4, 0.3, 0.2, 0.15], np.float32)  # then these unaries are enough to be in
_BELIEF = 10.0  # how sharply predicted IoUs become unaries of being meant


@dataclass(frozen=True)
class Answer:
    """One possible object.

    Attributes:
        unary: n float32, each superpixel's probability.
        chosen: n bool, the superpixels that are in it.
        score: predicted IoU, 0…1.
    """

    unary: NDArray[np.float32]
    chosen: NDArray[np.bool_]
    score: float


@dataclass(frozen=True)
class Hypotheses:
    """k possible answers to one query, the plain unary first.

    Attributes:
        unaries: k×n float32, superpixel probabilities.
        sets: k×n bool, superpixels.
        rows: k×IOU_FEATURES float32, see `iou_head_rows`.
    """

    unaries: NDArray[np.float32]
    sets: NDArray[np.bool_]
    rows: NDArray[np.float32]


def overlaps(graph: RegionGraph, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float32]:
    """k×m float32: IoUs of superpixel sets."""
    mass = one * graph.area
    inside = np.zeros((len(one), len(other)), np.float32)
    for start in range(0, mass.shape[1], _BLOCK):
        inside += mass[:, start : start + _BLOCK] @ other[:, start : start + _BLOCK].T.astype(np.float32)
    area = mass.sum(axis=1)[:, None] + (other * graph.area).sum(axis=1)[None]
    return np.asarray(inside / (area - inside + 1e-6), np.float32)


def _agreement(
    graph: RegionGraph, index: NDArray[np.int64], weight: NDArray[np.float32], chosen: NDArray[np.bool_]
) -> float:
    """The mean IoU of one superpixel set with these proposals, by their weights."""
    mass = graph.area * chosen
    inside = superpixel_sums(index, mass, *graph.pool)
    area = np.exp(graph.proposal_features[index, 0].astype(np.float32)) * np.float32(graph.total)
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


def _reaching(graph: RegionGraph, box: NDArray[np.float32]) -> NDArray[np.bool_]:
    """4×n bool: the superpixels that come close enough to each side of a box: left, top, right, bottom."""
    slack = _SLACK * np.array([box[2] - box[0], box[3] - box[1]], np.float32)
    return np.concatenate([graph.box[:, :2] <= box[:2] + slack, graph.box[:, 2:] >= box[2:] - slack], axis=1).T


def _decide(graph: RegionGraph, query: Query, unary: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The superpixels that are likelier in than out; with a box, as many more as it takes to reach all its sides.

    People draw boxes tight (Lempitsky et al., ICCV 2009), so that a mask far from a side lacks something.
    """
    chosen = unary > 0.5
    if not chosen.any():
        chosen = unary >= 0.8 * unary.max()
    chosen = tidy(graph, query, chosen)
    if query.box is None:
        return chosen
    reaching = _reaching(graph, query.box)
    if (reaching & chosen).any(axis=1).all():
        return chosen
    enough = np.where(reaching, unary, np.float32(0)).max(axis=1).min()
    for level in _LEVELS[enough > _LEVELS]:
        more = tidy(graph, query, unary > level)
        if (reaching & more).any(axis=1).all():
            return more
    return chosen


def hypotheses(graph: RegionGraph, query: Query, weights: Weights, refined: int) -> Hypotheses:
    """The plain unary, and so many likely proposals as they are and as refined."""
    geometry = find_geometry(graph, query)
    unary, features = classify(graph, query, geometry, weights)
    unaries, sets, origin = [unary], [_decide(graph, query, unary)], [0.0]
    proposals = features.proposals
    top = np.argsort(-proposals.weight, kind="stable")[:_CONSIDERED]
    weight = proposals.weight[top] / proposals.weight[top].sum()
    likely = proposals.index[top]
    if refined:
        held = members(likely, *graph.pool)
        everything = np.concatenate([sets[0][None], held])
        same = np.eye(len(everything), dtype=np.bool_)
        for pick in _cover(overlaps(graph, everything, held), weight, 0, 1 + refined, same)[1:]:
            drawn = everything[pick]
            belief = np.where(drawn, np.float32(1), np.float32(0))
            redrawn, _ = classify(graph, replace(query, prior=belief), geometry, weights)
            unaries += [redrawn, np.where(drawn, np.float32(0.9), np.float32(0.1))]
            sets += [_decide(graph, query, redrawn), drawn]
            origin += [1.0, 2.0]
    stacked = np.stack(sets)
    agreement = np.array([_agreement(graph, likely, weight, one) for one in stacked], np.float32)
    found = np.stack(unaries).astype(np.float32)
    rows = iou_head_rows(graph, query, features, found, stacked, agreement, np.array(origin, np.float32))
    return Hypotheses(found, stacked, rows)


def answer(graph: RegionGraph, query: Query, weights: Weights, multimask: bool) -> list[Answer]:
    """The answers to one query, best-scored first: one, or up to three with `multimask`."""
    ambiguous = len(query.positive) == 1 and query.box is None and query.prior is None
    known = hypotheses(graph, query, weights, REFINED if multimask else int(ambiguous))
    # Without a judge: how well each agrees with the plain unary's probabilities.
    score = weights.probabilities(f"judge_{family_of(query)}", known.rows, known.rows[:, 1])
    order = [int(score.argmax())]
    if multimask:
        belief = np.exp(_BELIEF * (score - score.max())).astype(np.float32)
        iou = overlaps(graph, known.sets, known.sets)
        order = _cover(iou, belief / belief.sum(), order[0], 3, iou > _ALIKE)
        order.sort(key=lambda k: -float(score[k]))
    return [Answer(known.unaries[k], known.sets[k], float(score[k])) for k in order]
