"""The evidence about leaves, column by column, in one pass: what NumPy would do in eighty small steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["FIRST", "SECOND", "first_columns", "join_heights", "second_columns"]

FIRST = 34
SECOND = FIRST + 12


@njit
def join_heights(
    parent: NDArray[np.int16], height: NDArray[np.float32], seed: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """t×n float32: the height at which each leaf first shares a node with a seed, in each tree; 1 without seeds."""
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


@njit
def first_columns(
    active: NDArray[np.int64],
    centre: NDArray[np.float32],
    area: NDArray[np.float32],
    rim: NDArray[np.float32],
    rim_distance: NDArray[np.float32],
    votes: NDArray[np.float32],
    around: NDArray[np.float32],
    away: NDArray[np.float32],
    close: NDArray[np.float32],
    covered: NDArray[np.float32],
    ratios: NDArray[np.float32],
    good: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    joins_good: NDArray[np.float32],
    joins_bad: NDArray[np.float32],
    prior: NDArray[np.float32],
    prior_around: NDArray[np.float32],
    positive: NDArray[np.float32],
    negative: NDArray[np.float32],
    place: NDArray[np.float64],
) -> NDArray[np.float32]:
    """a×FIRST float32, the columns in the order in which they are filled.

    Args:
        ratios: 4×n: see `appearance.likelihood_ratios`.
        votes: 4×n: the vote, the best candidate's leaves, the softer and the sharper vote.
        place: middle x and y, half width and height, scale, root of the frame's area, 1 with a box, best score.
    """
    out = np.zeros((active.shape[0], FIRST), np.float32)
    trees = joins_good.shape[0]
    middle_x, middle_y, half_x, half_y = place[0], place[1], place[2], place[3]
    scale, root, boxed = place[4], place[5], place[6]
    share = scale / root
    for k in range(active.shape[0]):
        i = active[k]
        row = out[k]
        x, y = centre[i, 0], centre[i, 1]
        straight, repelled = 1e12, 1e12
        for j in range(positive.shape[0]):
            dx, dy = x - positive[j, 0], y - positive[j, 1]
            straight = min(straight, dx * dx + dy * dy)
        for j in range(negative.shape[0]):
            dx, dy = x - negative[j, 0], y - negative[j, 1]
            repelled = min(repelled, dx * dx + dy * dy)
        u, v = abs(x - middle_x) / half_x, abs(y - middle_y) / half_y
        row[0] = votes[0, i]
        row[1] = votes[1, i]
        row[2] = around[i]
        row[3] = np.log(away[i] / share + 0.02)
        row[4] = np.log(close[i] / share + 0.02)
        row[5] = np.log(away[i] / (close[i] + 1e-3) + 0.02)
        row[6] = min(np.sqrt(straight) / scale, 4.0) if positive.shape[0] > 0 else 0.0
        row[7] = min(np.sqrt(repelled) / scale, 3.0)
        row[8] = covered[i]
        row[9] = min(u, 4.0) * boxed
        row[10] = min(v, 4.0) * boxed
        row[11] = min(max(u, v), 4.0)
        for c in range(4):
            row[12 + c] = ratios[c, i]
        row[16] = np.log(area[i] / (root * root)) - 2 * np.log(share)
        row[17] = rim[i] / np.sqrt(area[i])
        row[18] = np.log(rim_distance[i] + 0.02)
        row[19] = 1.0 if good[i] else 0.0
        row[20] = 1.0 if bad[i] else 0.0
        row[21] = positive.shape[0]
        row[22] = negative.shape[0]
        row[23] = np.log(share)
        row[24] = place[7]
        mean_good, mean_bad, versus, most = 0.0, 0.0, 1.0, 0.0
        for t in range(trees):
            g, b = joins_good[t, i], joins_bad[t, i]
            mean_good += g / trees
            mean_bad += b / trees
            versus *= (b + 0.02) / (g + 0.02)
            most = max(most, b)
        row[25] = mean_good
        row[26] = mean_bad
        row[27] = np.log(versus) / trees
        row[28] = most
        row[29] = prior[i]
        row[30] = prior_around[i]
        row[31] = min(max((y - middle_y) / half_y, -4.0), 4.0)
        row[32] = votes[2, i]
        row[33] = votes[3, i]
    return out


@njit
def second_columns(
    first: NDArray[np.float32],
    active: NDArray[np.int64],
    chance: NDArray[np.float32],
    around: NDArray[np.float32],
    beyond: NDArray[np.float32],
    votes: NDArray[np.float32],
    ratios: NDArray[np.float32],
    best: float,
    share: float,
) -> NDArray[np.float32]:
    """a×SECOND float32: the first columns, then those of the second evidence.

    Args:
        votes: 2×n: the vote, and the leaves of the best candidate.
        ratios: 4×n: see `appearance.likelihood_ratios`.
    """
    width = first.shape[1]
    out = np.empty((active.shape[0], SECOND), np.float32)
    for k in range(active.shape[0]):
        i = active[k]
        row = out[k]
        for c in range(width):
            row[c] = first[k, c]
        row[width] = chance[i]
        row[width + 1] = np.log((chance[i] + 0.01) / (1.01 - chance[i]))
        row[width + 2] = around[i]
        row[width + 3] = beyond[i]
        row[width + 4] = votes[0, i]
        row[width + 5] = votes[1, i]
        for c in range(4):
            row[width + 6 + c] = ratios[c, i]
        row[width + 10] = best
        row[width + 11] = share
    return out
