"""Everything that speaks for or against one superpixel being in the object, as a row of numbers for the classifiers.

The rows are filled in one pass each: what NumPy would do in eighty small steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .encoding import Query, RegionGraph, cover, surroundings
from .prompt_fit import SHARPNESS, Proposals
from .proposals import superpixel_sums, votes
from .rag import distances, smoothed
from .superpixels import GROUPS

__all__ = [
    "FIRST_FEATURES",
    "SECOND_FEATURES",
    "Features",
    "PromptGeometry",
    "find_geometry",
    "first_features",
    "first_rows",
    "join_heights",
    "likelihood_ratios",
    "second_features",
    "second_rows",
]

_FLOOR = 0.004


@njit(fastmath=True)
def likelihood_ratios(
    histogram: NDArray[np.uint8], wanted: NDArray[np.float32], unwanted: NDArray[np.float32]
) -> NDArray[np.float32]:
    """4×n float32: for L, a, b and words, each superpixel's mean log ratio of two mixtures of superpixels.

    Args:
        histogram: BINS×n uint8, each group of bins summing to about 255.
        wanted, unwanted: n float32, how much of each superpixel goes into either mixture.
    """
    bins, n = histogram.shape
    good = np.empty(bins, np.float32)
    bad = np.empty(bins, np.float32)
    for k in range(bins):
        for_it, against = np.float32(0), np.float32(0)
        for i in range(n):
            share = np.float32(histogram[k, i])
            for_it += wanted[i] * share
            against += unwanted[i] * share
        good[k], bad[k] = for_it, against
    out = np.zeros((4, n), np.float32)
    for g in range(4):
        mass_good, mass_bad = np.float32(1e-6), np.float32(1e-6)
        for k in range(GROUPS[g], GROUPS[g + 1]):
            mass_good += good[k]
            mass_bad += bad[k]
        for k in range(GROUPS[g], GROUPS[g + 1]):
            odds = (good[k] / mass_good + np.float32(_FLOOR)) / (bad[k] / mass_bad + np.float32(_FLOOR))
            ratio = np.log(odds) / np.float32(255)
            for i in range(n):
                out[g, i] += ratio * np.float32(histogram[k, i])
    return out


FIRST_FEATURES = 34
SECOND_FEATURES = FIRST_FEATURES + 12


@njit
def join_heights(
    parent: NDArray[np.int16], height: NDArray[np.float32], seed: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """t×n float32: the height at which each superpixel first shares a node with a seed, in each tree; 1 without
    seeds.
    """
    trees, nodes = parent.shape
    n = seed.shape[0]
    out = np.ones((trees, n), np.float32)
    if not seed.any():
        return out
    has = np.empty(nodes, np.bool_)
    level = np.empty(nodes, np.float32)
    for t in range(trees):
        for i in range(nodes):
            has[i] = seed[i] if i < n else False
        for i in range(nodes - 1):
            if has[i]:
                has[parent[t, i]] = True
        level[nodes - 1] = height[t, nodes - 1]
        for i in range(nodes - 2, -1, -1):
            level[i] = height[t, i] if has[i] else level[parent[t, i]]
        for i in range(n):
            out[t, i] = level[i]
    return out


class PromptGeometry(NamedTuple):
    """How every superpixel lies to the points and the box of a query, whatever is made of them. Arrays are n float32 or
    said.

    Attributes:
        covered: share of each superpixel inside the box; 1 without a box.
        gap: working pixels from each superpixel's centre to the nearest positive point; infinite without one.
        good, bad: n bool, superpixels that are surely inside and surely outside.
        close, away: geodesic distance to the nearest good and bad superpixel.
        joins_good, joins_bad: t×n float32, at which height of each tree a superpixel joins a good one, and a bad one
            (or the frame's edge, if no superpixel is bad).
    """

    covered: NDArray[np.float32]
    gap: NDArray[np.float32]
    good: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    close: NDArray[np.float32]
    away: NDArray[np.float32]
    joins_good: NDArray[np.float32]
    joins_bad: NDArray[np.float32]


class Shapes(NamedTuple):
    """Of every superpixel: n×2 float32 centre, and n float32 each area, rim pixels and distance to the rim."""

    centre: NDArray[np.float32]
    area: NDArray[np.float32]
    rim: NDArray[np.float32]
    rim_distance: NDArray[np.float32]


class Votes(NamedTuple):
    """What proposals, appearance and a mask prompt say of every superpixel. float32.

    Attributes:
        shares: 4×n: the vote, the best proposal's superpixels, the softer and the sharper vote.
        around: n, the vote's average over the neighbours.
        ratios: 4×n, see `likelihood_ratios`.
        prior, prior_around: n, a mask prompt's share and its average over the neighbours; 0.5 without one.
    """

    shares: NDArray[np.float32]
    around: NDArray[np.float32]
    ratios: NDArray[np.float32]
    prior: NDArray[np.float32]
    prior_around: NDArray[np.float32]


class Place(NamedTuple):
    """Where an object is expected: its middle, half its size, the side `scale`, `root` of the frame's area (working
    pixels); `boxed` 1 with a box; the `best` proposal's score.
    """

    middle_x: float
    middle_y: float
    half_x: float
    half_y: float
    scale: float
    root: float
    boxed: float
    best: float


@njit
def first_rows(
    active: NDArray[np.int64],
    shapes: Shapes,
    geometry: PromptGeometry,
    votes: Votes,
    positive: NDArray[np.float32],
    negative: NDArray[np.float32],
    place: Place,
) -> NDArray[np.float32]:
    """a×FIRST_FEATURES float32, the columns in the order in which they are filled."""
    out = np.zeros((active.shape[0], FIRST_FEATURES), np.float32)
    trees = geometry.joins_good.shape[0]
    share = place.scale / place.root
    for k in range(active.shape[0]):
        i = active[k]
        row = out[k]
        x, y = shapes.centre[i, 0], shapes.centre[i, 1]
        straight, repelled = 1e12, 1e12
        for j in range(positive.shape[0]):
            dx, dy = x - positive[j, 0], y - positive[j, 1]
            straight = min(straight, dx * dx + dy * dy)
        for j in range(negative.shape[0]):
            dx, dy = x - negative[j, 0], y - negative[j, 1]
            repelled = min(repelled, dx * dx + dy * dy)
        u, v = abs(x - place.middle_x) / place.half_x, abs(y - place.middle_y) / place.half_y
        row[0] = votes.shares[0, i]
        row[1] = votes.shares[1, i]
        row[2] = votes.around[i]
        row[3] = np.log(geometry.away[i] / share + 0.02)
        row[4] = np.log(geometry.close[i] / share + 0.02)
        row[5] = np.log(geometry.away[i] / (geometry.close[i] + 1e-3) + 0.02)
        row[6] = min(np.sqrt(straight) / place.scale, 4.0) if positive.shape[0] > 0 else 0.0
        row[7] = min(np.sqrt(repelled) / place.scale, 3.0)
        row[8] = geometry.covered[i]
        row[9] = min(u, 4.0) * place.boxed
        row[10] = min(v, 4.0) * place.boxed
        row[11] = min(max(u, v), 4.0)
        for c in range(4):
            row[12 + c] = votes.ratios[c, i]
        row[16] = np.log(shapes.area[i] / (place.root * place.root)) - 2 * np.log(share)
        row[17] = shapes.rim[i] / np.sqrt(shapes.area[i])
        row[18] = np.log(shapes.rim_distance[i] + 0.02)
        row[19] = 1.0 if geometry.good[i] else 0.0
        row[20] = 1.0 if geometry.bad[i] else 0.0
        row[21] = positive.shape[0]
        row[22] = negative.shape[0]
        row[23] = np.log(share)
        row[24] = place.best
        mean_good, mean_bad, versus, most = 0.0, 0.0, 1.0, 0.0
        for t in range(trees):
            g, b = geometry.joins_good[t, i], geometry.joins_bad[t, i]
            mean_good += g / trees
            mean_bad += b / trees
            versus *= (b + 0.02) / (g + 0.02)
            most = max(most, b)
        row[25] = mean_good
        row[26] = mean_bad
        row[27] = np.log(versus) / trees
        row[28] = most
        row[29] = votes.prior[i]
        row[30] = votes.prior_around[i]
        row[31] = min(max((y - place.middle_y) / place.half_y, -4.0), 4.0)
        row[32] = votes.shares[2, i]
        row[33] = votes.shares[3, i]
    return out


@njit
def second_rows(
    first: NDArray[np.float32],
    active: NDArray[np.int64],
    unary: NDArray[np.float32],
    around: NDArray[np.float32],
    beyond: NDArray[np.float32],
    votes: NDArray[np.float32],
    ratios: NDArray[np.float32],
    best: float,
    share: float,
) -> NDArray[np.float32]:
    """a×SECOND_FEATURES float32: the first columns, then those of the second features.

    Args:
        votes: 2×n: the vote, and the superpixels of the best proposal.
        ratios: 4×n: see `likelihood_ratios`.
    """
    width = first.shape[1]
    out = np.empty((active.shape[0], SECOND_FEATURES), np.float32)
    for k in range(active.shape[0]):
        i = active[k]
        row = out[k]
        for c in range(width):
            row[c] = first[k, c]
        row[width] = unary[i]
        row[width + 1] = np.log((unary[i] + 0.01) / (1.01 - unary[i]))
        row[width + 2] = around[i]
        row[width + 3] = beyond[i]
        row[width + 4] = votes[0, i]
        row[width + 5] = votes[1, i]
        for c in range(4):
            row[width + 6 + c] = ratios[c, i]
        row[width + 10] = best
        row[width + 11] = share
    return out


_OUTSIDE = 0.3
_UNLIKELY = 0.003
_REACH = 1.5
_UNCLAIMED = 0.05
_SOFT = 0.4  # the powers of the proposals' weights in the softer and the sharper vote
_SHARP = 2.5


@dataclass(frozen=True)
class Features:
    """First features of one query.

    Attributes:
        active: a int64, the superpixels in question; all others are outside.
        rows: a×FIRST_FEATURES float32.
        cover: n float32, share of each superpixel inside the box; 1 without a box.
        near: n float32, how much each superpixel counts as background near the object.
        proposals: what was voted on.
    """

    active: NDArray[np.int64]
    rows: NDArray[np.float32]
    cover: NDArray[np.float32]
    near: NDArray[np.float32]
    proposals: Proposals


def find_geometry(graph: RegionGraph, query: Query) -> PromptGeometry:
    """The geometry of a query; it does not depend on its prior."""
    n = len(graph.area)
    covered = np.ones(n, np.float32) if query.box is None else cover(graph.labels, graph.area, query.box)
    good, bad = np.zeros(n, np.bool_), covered < _OUTSIDE
    good[query.positive_superpixels] = True
    bad[query.negative_superpixels] = True
    return PromptGeometry(
        covered,
        _nearest_point(graph.centre, query.positive),
        good,
        bad,
        distances(graph.offsets, graph.neighbour, graph.step, good),
        distances(graph.offsets, graph.neighbour, graph.step, bad),
        join_heights(graph.parent, graph.height, good),
        join_heights(graph.parent, graph.height, bad if bad.any() else graph.rim > 0),
    )


def _nearest_point(centre: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    best = np.full(len(centre), np.float32(np.inf))
    for x, y in points:
        dx, dy = centre[:, 0] - x, centre[:, 1] - y
        best = np.minimum(best, dx * dx + dy * dy)
    return np.sqrt(best)


@dataclass(frozen=True)
class _Setting:
    """Where a query is in the image. Arrays are n float32.

    Attributes:
        near: how much each superpixel counts as background near the object.
        wanted, unwanted: how much of each superpixel goes into the model of the object and of its surroundings.
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
    graph: RegionGraph, box: NDArray[np.float32], covered: NDArray[np.float32], vote: NDArray[np.float32]
) -> _Setting:
    x1, y1, x2, y2 = (float(side) for side in box)
    half = max(x2 - x1, 1.0) / 2, max(y2 - y1, 1.0) / 2
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    near, wanted, unwanted = surroundings(covered, graph.area, graph.centre, vote, *middle, *half)
    return _Setting(near, wanted, unwanted, 2 * float(np.sqrt(half[0] * half[1])), middle, half)


def _open_setting(
    graph: RegionGraph, query: Query, gap: NDArray[np.float32], proposals: Proposals, vote: NDArray[np.float32]
) -> _Setting:
    n = len(graph.area)
    scale = max(float(np.sqrt(proposals.weight @ proposals.area)), 4.0)
    near = np.full(n, np.float32(0.05))
    x, y = graph.frame.cols / 2, graph.frame.rows / 2
    if len(query.positive):
        x, y = (float(v) for v in query.positive.mean(axis=0))
        near = near + np.asarray(np.exp(-gap * gap / np.float32(8 * scale * scale)), np.float32)
    elif query.prior is not None:
        mass = graph.area * query.prior
        x, y = (float(v) for v in (mass @ graph.centre) / max(float(mass.sum()), 1e-6))
        near += smoothed(graph.offsets, graph.neighbour, graph.weight, query.prior)
    wanted, unwanted = graph.area * vote, graph.area * (1 - vote) * near
    return _Setting(near, wanted, unwanted, scale, (x, y), (scale, scale))


def _in_question(
    graph: RegionGraph, query: Query, geometry: PromptGeometry, scale: float, vote: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The superpixels that can be in the object at all: in the box, voted for, near a point, or claimed by the
    prior.
    """
    if query.box is not None:
        return np.flatnonzero(geometry.covered > 0)
    out = vote > _UNLIKELY
    out |= geometry.gap < _REACH * scale
    if query.prior is not None:
        out |= query.prior > _UNCLAIMED
    return np.flatnonzero(out) if out.any() else np.arange(len(vote))


def _votes(graph: RegionGraph, proposals: Proposals, weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """k×n float32: for each of k weightings of the proposals, the share of those that hold each superpixel."""
    shares = np.empty((len(weights), len(proposals.index)), np.float32)
    for share, weight in zip(shares, weights, strict=True):
        np.divide(weight, weight.sum(), out=share)
    return votes(proposals.index, shares, *graph.pool)


def _only_best(rank: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.zeros(len(rank), np.float32)
    out[int(rank.argmax())] = 1
    return out


def first_features(graph: RegionGraph, query: Query, geometry: PromptGeometry, proposals: Proposals) -> Features:
    """The first features of one query."""
    lists = graph.offsets, graph.neighbour
    weight = proposals.weight
    vote = _votes(graph, proposals, [weight, _only_best(weight), weight**_SOFT, weight**_SHARP])
    if query.box is None:
        setting = _open_setting(graph, query, geometry.gap, proposals, vote[0])
    else:
        setting = _box_setting(graph, query.box, geometry.covered, vote[0])
    setting.wanted[query.positive_superpixels] += 2 * graph.area[query.positive_superpixels]
    setting.unwanted[query.negative_superpixels] += 5 * graph.area[query.negative_superpixels]
    active = _in_question(graph, query, geometry, setting.scale, vote[0])
    prior = np.full(len(graph.area), np.float32(0.5)) if query.prior is None else query.prior
    said = Votes(
        vote,
        smoothed(*lists, graph.weight, vote[0]),
        likelihood_ratios(graph.histogram, setting.wanted, setting.unwanted),
        prior,
        prior if query.prior is None else smoothed(*lists, graph.weight, prior),
    )
    boxed, best = float(query.box is not None), float(proposals.score.max())
    place = Place(*setting.middle, *setting.half, setting.scale, float(np.sqrt(graph.total)), boxed, best)
    shapes = Shapes(graph.centre, graph.area, graph.rim, graph.rim_distance)
    rows = first_rows(active, shapes, geometry, said, query.positive, query.negative, place)
    return Features(active, rows, geometry.covered, setting.near, proposals)


def second_features(graph: RegionGraph, features: Features, unary: NDArray[np.float32]) -> NDArray[np.float32]:
    """a×SECOND_FEATURES float32: the first features, and what it becomes once every superpixel has a first unary.

    Args:
        unary: n float32, the first unary: each superpixel's probability of being in the object (auto-context).
    """
    proposals = features.proposals
    mass = graph.area * unary
    inside = superpixel_sums(proposals.index, mass, *graph.pool)
    total = mass.sum()
    iou = inside / (proposals.area + total - inside + np.float32(1e-6))
    odds = SHARPNESS * (proposals.score + iou)
    vote = _votes(graph, proposals, [np.exp(odds - odds.max()), _only_best(iou)])
    around = smoothed(graph.offsets, graph.neighbour, graph.weight, unary)
    return second_rows(
        features.rows,
        features.active,
        unary,
        around,
        smoothed(graph.offsets, graph.neighbour, graph.weight, around),
        vote,
        likelihood_ratios(graph.histogram, mass, graph.area * (1 - unary) * features.near),
        float(iou.max()),
        float(np.sqrt(total / graph.total)),
    )
