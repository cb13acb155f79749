"""Everything that speaks for or against one leaf being in the object, as a row of numbers for the classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .appearance import likelihood_ratios
from .candidates import SHARPNESS, Candidates
from .columns import first_columns, join_heights, second_columns
from .graph import distances, smoothed
from .membership import leaf_sums, votes
from .queries import Query, cover, surroundings
from .scene import Scene

__all__ = ["Evidence", "Ways", "find_ways", "first_evidence", "second_evidence"]

_OUTSIDE = 0.3
_UNLIKELY = 0.003
_REACH = 1.5
_UNCLAIMED = 0.05
_SOFT = 0.4  # the powers of the candidates' weights in the softer and the sharper vote
_SHARP = 2.5


@dataclass(frozen=True)
class Evidence:
    """First evidence of one query.

    Attributes:
        active: a int64, the leaves in question; all others are outside.
        rows: a×columns.FIRST float32.
        cover: n float32, share of each leaf inside the box; 1 without a box.
        near: n float32, how much each leaf counts as background near the object.
        candidates: what was voted on.
    """

    active: NDArray[np.int64]
    rows: NDArray[np.float32]
    cover: NDArray[np.float32]
    near: NDArray[np.float32]
    candidates: Candidates


@dataclass(frozen=True)
class Ways:
    """How every leaf lies to the points and the box of a query, whatever is made of them. Arrays are n float32 or said.

    Attributes:
        covered: share of each leaf inside the box; 1 without a box.
        gap: working pixels from each leaf's centre to the nearest positive point; infinite without one.
        good, bad: n bool, leaves that are surely inside and surely outside.
        close, away: geodesic distance to the nearest good and bad leaf.
        joins_good, joins_bad: t×n float32, at which height of each tree a leaf joins a good one, and a bad one (or
            the frame's edge, if no leaf is bad).
    """

    covered: NDArray[np.float32]
    gap: NDArray[np.float32]
    good: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    close: NDArray[np.float32]
    away: NDArray[np.float32]
    joins_good: NDArray[np.float32]
    joins_bad: NDArray[np.float32]


def find_ways(scene: Scene, query: Query) -> Ways:
    """The ways of a query; they do not depend on its prior."""
    n = len(scene.area)
    covered = np.ones(n, np.float32) if query.box is None else cover(scene.labels, scene.area, query.box)
    good, bad = np.zeros(n, np.bool_), covered < _OUTSIDE
    good[query.positive_leaves] = True
    bad[query.negative_leaves] = True
    return Ways(
        covered,
        _nearest_point(scene.centre, query.positive),
        good,
        bad,
        distances(scene.offsets, scene.neighbour, scene.step, good),
        distances(scene.offsets, scene.neighbour, scene.step, bad),
        join_heights(scene.parent, scene.height, good),
        join_heights(scene.parent, scene.height, bad if bad.any() else scene.rim > 0),
    )


def _nearest_point(centre: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    best = np.full(len(centre), np.float32(np.inf))
    for x, y in points:
        dx, dy = centre[:, 0] - x, centre[:, 1] - y
        best = np.minimum(best, dx * dx + dy * dy)
    return np.sqrt(best)


@dataclass(frozen=True)
class _Setting:
    """Where a query is in the picture. Arrays are n float32.

    Attributes:
        near: how much each leaf counts as background near the object.
        wanted, unwanted: how much of each leaf goes into the model of the object and of its surroundings.
        scale: side of the object, working pixels, expected.
        middle: x, y that the object is around.
        half: half the box's width and height, or the scale twice.
    """

    near: NDArray[np.float32]
    wanted: NDArray[np.float32]
    unwanted: NDArray[np.float32]
    scale: float
    middle: tuple[float, float]
    half: tuple[float, float]


def _box_setting(
    scene: Scene, box: NDArray[np.float32], covered: NDArray[np.float32], vote: NDArray[np.float32]
) -> _Setting:
    x1, y1, x2, y2 = (float(side) for side in box)
    half = max(x2 - x1, 1.0) / 2, max(y2 - y1, 1.0) / 2
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    near, wanted, unwanted = surroundings(covered, scene.area, scene.centre, vote, *middle, *half)
    return _Setting(near, wanted, unwanted, 2 * float(np.sqrt(half[0] * half[1])), middle, half)


def _open_setting(
    scene: Scene, query: Query, gap: NDArray[np.float32], candidates: Candidates, vote: NDArray[np.float32]
) -> _Setting:
    n = len(scene.area)
    scale = max(float(np.sqrt(candidates.weight @ candidates.area)), 4.0)
    near = np.full(n, np.float32(0.05))
    x, y = scene.frame.cols / 2, scene.frame.rows / 2
    if len(query.positive):
        x, y = (float(v) for v in query.positive.mean(axis=0))
        near = near + np.asarray(np.exp(-gap * gap / np.float32(8 * scale * scale)), np.float32)
    elif query.prior is not None:
        mass = scene.area * query.prior
        x, y = (float(v) for v in (mass @ scene.centre) / max(float(mass.sum()), 1e-6))
        near += smoothed(scene.offsets, scene.neighbour, scene.weight, query.prior)
    wanted, unwanted = scene.area * vote, scene.area * (1 - vote) * near
    return _Setting(near, wanted, unwanted, scale, (x, y), (scale, scale))


def _in_question(scene: Scene, query: Query, ways: Ways, scale: float, vote: NDArray[np.float32]) -> NDArray[np.int64]:
    """The leaves that can be in the object at all: in the box, voted for, near a point, or claimed by the prior."""
    if query.box is not None:
        return np.flatnonzero(ways.covered > 0)
    out = vote > _UNLIKELY
    out |= ways.gap < _REACH * scale
    if query.prior is not None:
        out |= query.prior > _UNCLAIMED
    return np.flatnonzero(out) if out.any() else np.arange(len(vote))


def _votes(scene: Scene, candidates: Candidates, weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """k×n float32: for each of k weightings of the candidates, the share of those that hold each leaf."""
    shares = np.empty((len(weights), len(candidates.index)), np.float32)
    for share, weight in zip(shares, weights, strict=True):
        np.divide(weight, weight.sum(), out=share)
    return votes(candidates.index, shares, scene.order, scene.pool_tree, scene.pool_start, scene.pool_end)


def _only_best(rank: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.zeros(len(rank), np.float32)
    out[int(rank.argmax())] = 1
    return out


def first_evidence(scene: Scene, query: Query, ways: Ways, candidates: Candidates) -> Evidence:
    """The first evidence of one query."""
    graph = scene.offsets, scene.neighbour
    weight = candidates.weight
    vote = _votes(scene, candidates, [weight, _only_best(weight), weight**_SOFT, weight**_SHARP])
    if query.box is None:
        setting = _open_setting(scene, query, ways.gap, candidates, vote[0])
    else:
        setting = _box_setting(scene, query.box, ways.covered, vote[0])
    setting.wanted[query.positive_leaves] += 2 * scene.area[query.positive_leaves]
    setting.unwanted[query.negative_leaves] += 5 * scene.area[query.negative_leaves]
    active = _in_question(scene, query, ways, setting.scale, vote[0])
    prior = np.full(len(scene.area), np.float32(0.5)) if query.prior is None else query.prior
    root = float(np.sqrt(scene.total))
    boxed = float(query.box is not None)
    rows = first_columns(
        active,
        scene.centre,
        scene.area,
        scene.rim,
        scene.rim_distance,
        vote,
        smoothed(*graph, scene.weight, vote[0]),
        ways.away,
        ways.close,
        ways.covered,
        likelihood_ratios(scene.histogram, setting.wanted, setting.unwanted),
        ways.good,
        ways.bad,
        ways.joins_good,
        ways.joins_bad,
        prior,
        prior if query.prior is None else smoothed(*graph, scene.weight, prior),
        query.positive,
        query.negative,
        np.array([*setting.middle, *setting.half, setting.scale, root, boxed, float(candidates.score.max())]),
    )
    return Evidence(active, rows, ways.covered, setting.near, candidates)


def second_evidence(scene: Scene, evidence: Evidence, chance: NDArray[np.float32]) -> NDArray[np.float32]:
    """a×columns.SECOND float32: the first evidence, and what it becomes once every leaf has a first verdict.

    Args:
        chance: n float32, the first verdict: each leaf's probability of being in the object (auto-context).
    """
    candidates = evidence.candidates
    mass = scene.area * chance
    inside = leaf_sums(candidates.index, mass, scene.order, scene.pool_tree, scene.pool_start, scene.pool_end)
    total = mass.sum()
    iou = inside / (candidates.area + total - inside + np.float32(1e-6))
    odds = SHARPNESS * (candidates.score + iou)
    vote = _votes(scene, candidates, [np.exp(odds - odds.max()), _only_best(iou)])
    around = smoothed(scene.offsets, scene.neighbour, scene.weight, chance)
    return second_columns(
        evidence.rows,
        evidence.active,
        chance,
        around,
        smoothed(scene.offsets, scene.neighbour, scene.weight, around),
        vote,
        likelihood_ratios(scene.histogram, mass, scene.area * (1 - chance) * evidence.near),
        float(iou.max()),
        float(np.sqrt(total / scene.total)),
    )
