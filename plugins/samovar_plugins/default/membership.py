"""Which leaves are in which candidates: each candidate is an interval of one tree's depth-first order of the leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["holding", "leaf_sums", "members", "votes"]


@njit
def holding(
    leaf: int,
    order: NDArray[np.uint16],
    tree: NDArray[np.uint8],
    start: NDArray[np.uint16],
    end: NDArray[np.uint16],
) -> NDArray[np.bool_]:
    """Which candidates hold a leaf."""
    place = np.empty(order.shape[0], np.int32)
    for t in range(order.shape[0]):
        for i in range(order.shape[1]):
            if order[t, i] == leaf:
                place[t] = i
                break
    out = np.empty(tree.shape[0], np.bool_)
    for c in range(tree.shape[0]):
        out[c] = start[c] <= place[tree[c]] < end[c]
    return out


@njit
def members(
    index: NDArray[np.int64],
    order: NDArray[np.uint16],
    tree: NDArray[np.uint8],
    start: NDArray[np.uint16],
    end: NDArray[np.uint16],
) -> NDArray[np.bool_]:
    """k×n bool: the leaves of each candidate."""
    out = np.zeros((index.shape[0], order.shape[1]), np.bool_)
    for k in range(index.shape[0]):
        c = index[k]
        for i in range(start[c], end[c]):
            out[k, order[tree[c], i]] = True
    return out


@njit
def leaf_sums(
    index: NDArray[np.int64],
    value: NDArray[np.float32],
    order: NDArray[np.uint16],
    tree: NDArray[np.uint8],
    start: NDArray[np.uint16],
    end: NDArray[np.uint16],
) -> NDArray[np.float32]:
    """For each candidate, the sum of a per-leaf value over its leaves."""
    trees, n = order.shape
    running = np.zeros((trees, n + 1), np.float64)
    for t in range(trees):
        for i in range(n):
            running[t, i + 1] = running[t, i] + value[order[t, i]]
    out = np.empty(index.shape[0], np.float32)
    for k in range(index.shape[0]):
        c = index[k]
        out[k] = running[tree[c], end[c]] - running[tree[c], start[c]]
    return out


@njit
def votes(
    index: NDArray[np.int64],
    weights: NDArray[np.float32],
    order: NDArray[np.uint16],
    tree: NDArray[np.uint8],
    start: NDArray[np.uint16],
    end: NDArray[np.uint16],
) -> NDArray[np.float32]:
    """w×n float32: for each of w×k weightings of the k candidates, the weight of those that hold each leaf, in 0…1."""
    trees, n = order.shape
    out = np.zeros((weights.shape[0], n), np.float32)
    change = np.zeros((trees, n + 1), np.float64)
    for w in range(weights.shape[0]):
        change[:] = 0
        for k in range(index.shape[0]):
            c = index[k]
            change[tree[c], start[c]] += weights[w, k]
            change[tree[c], end[c]] -= weights[w, k]
        for t in range(trees):
            held = 0.0
            for i in range(n):
                held += change[t, i]
                out[w, order[t, i]] += held
        for i in range(n):
            out[w, i] = min(max(out[w, i], np.float32(0)), np.float32(1))
    return out
