"""Greedy agglomeration of leaves with a priority queue of borders.

The queue holds every border with the cost it had when it was last looked at. The cheapest is taken; if its two sides
have grown much since, its cost is computed anew and it goes back. Large regions therefore do not force hundreds of
borders to be recomputed at every merge, which is what makes naive agglomeration quadratic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .border_costs import BORDER_FEATURES, border_cost

__all__ = ["merge"]

_STALE = 1.1  # a border is looked at again once its two sides together have grown by this factor
_EAGER = 4  # regions with more borders than this have them looked at again only when they come up


@njit
def _push(queue_cost: NDArray[np.float64], queue_edge: NDArray[np.int32], held: int, cost: float, edge: int) -> int:
    i = held
    while i > 0:
        up = (i - 1) // 2
        if queue_cost[up] < cost or (queue_cost[up] == cost and queue_edge[up] <= edge):
            break
        queue_cost[i] = queue_cost[up]
        queue_edge[i] = queue_edge[up]
        i = up
    queue_cost[i] = cost
    queue_edge[i] = edge
    return held + 1


@njit
def _pop(queue_cost: NDArray[np.float64], queue_edge: NDArray[np.int32], held: int) -> int:
    """Remove the first entry of the heap; return how many are left. Ties go to the lower border index."""
    held -= 1
    cost, edge = queue_cost[held], queue_edge[held]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= held:
            break
        other = child + 1
        if other < held and (
            queue_cost[other] < queue_cost[child]
            or (queue_cost[other] == queue_cost[child] and queue_edge[other] < queue_edge[child])
        ):
            child = other
        if cost < queue_cost[child] or (cost == queue_cost[child] and edge <= queue_edge[child]):
            break
        queue_cost[i] = queue_cost[child]
        queue_edge[i] = queue_edge[child]
        i = child
    queue_cost[i] = cost
    queue_edge[i] = edge
    return held


@njit(fastmath=True)
def merge(
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    length: NDArray[np.float32],
    strength: NDArray[np.float32],
    area: NDArray[np.float32],
    histogram: NDArray[np.float32],
    colour: NDArray[np.float64],
    box: NDArray[np.float32],
    perimeter: NDArray[np.float32],
    total: float,
    contrast: bool,
    outline: bool,
    net: NDArray[np.float32],
    inputs: int,
    hidden: int,
    size_power: float,
    share_power: float,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(n−1)×2 children and n−1 heights of a merge tree. All arrays are consumed; see `border_cost` for the others."""
    n = area.shape[0]
    edges = first.shape[0]
    children = np.full((max(n - 1, 0), 2), -1, np.int32)
    height = np.zeros(max(n - 1, 0), np.float32)
    node = np.arange(n).astype(np.int32)
    floor = np.zeros(n, np.float64)
    seen = np.zeros(edges, np.float32)
    alive = np.ones(edges, np.bool_)
    # each live border is in two chains, one for each side
    head = np.full(n, -1, np.int32)
    following = np.full(2 * edges, -1, np.int32)
    for e in range(edges):
        following[2 * e] = head[first[e]]
        head[first[e]] = 2 * e
        following[2 * e + 1] = head[second[e]]
        head[second[e]] = 2 * e + 1
    row = np.empty(BORDER_FEATURES, np.float32)
    scratch = np.empty((2, max(hidden, 1)), np.float32)
    capacity = 4 * edges + 64
    queue_cost = np.empty(capacity, np.float64)
    queue_edge = np.empty(capacity, np.int32)
    pending = np.empty(edges, np.int32)
    waiting = edges
    for e in range(edges):
        pending[e] = e
    mark = np.full(n, -1, np.int32)
    mark_edge = np.empty(n, np.int32)
    held = 0
    made = 0
    while True:
        for k in range(waiting):
            e = pending[k]
            a, b = first[e], second[e]
            cost = border_cost(
                a,
                b,
                length[e],
                strength[e],
                area,
                histogram,
                colour,
                box,
                perimeter,
                total,
                contrast,
                outline,
                net,
                inputs,
                hidden,
                size_power,
                share_power,
                row,
                scratch,
            )
            seen[e] = area[a] + area[b]
            if held == capacity:
                longer_cost = np.empty(2 * capacity, np.float64)
                longer_edge = np.empty(2 * capacity, np.int32)
                for q in range(held):
                    longer_cost[q] = queue_cost[q]
                    longer_edge[q] = queue_edge[q]
                queue_cost, queue_edge = longer_cost, longer_edge
                capacity *= 2
            held = _push(queue_cost, queue_edge, held, cost, e)
        waiting = 0
        if held == 0:
            break
        e = queue_edge[0]
        cost = queue_cost[0]
        held = _pop(queue_cost, queue_edge, held)
        if not alive[e]:
            continue
        a, b = first[e], second[e]
        if area[a] + area[b] > seen[e] * np.float32(_STALE):
            pending[0] = e
            waiting = 1
            continue
        # merge b into a, where a has the longer chain of borders; so its stale borders are looked at lazily
        count_a, count_b = 0, 0
        chain = head[a]
        while chain >= 0:
            count_a += 1
            chain = following[chain]
        chain = head[b]
        while chain >= 0:
            count_b += 1
            chain = following[chain]
        if count_b > count_a:
            a, b = b, a
        alive[e] = False
        new = n + made
        children[made, 0] = node[a]
        children[made, 1] = node[b]
        level = max(cost, max(floor[a], floor[b]))
        height[made] = level
        floor[a] = level
        made += 1
        node[a] = new
        area[a] += area[b]
        for k in range(histogram.shape[1]):
            histogram[a, k] += histogram[b, k]
        for k in range(4):
            colour[a, k] += colour[b, k]
        box[a, 0] = min(box[a, 0], box[b, 0])
        box[a, 1] = min(box[a, 1], box[b, 1])
        box[a, 2] = max(box[a, 2], box[b, 2])
        box[a, 3] = max(box[a, 3], box[b, 3])
        perimeter[a] += perimeter[b] - 2 * length[e]
        # rebuild a's chain without dead borders, remembering the border to each neighbour
        chain = head[a]
        last = -1
        head[a] = -1
        while chain >= 0:
            after = following[chain]
            f = chain // 2
            if alive[f]:
                other = second[f] if chain % 2 == 0 else first[f]
                mark[other] = new
                mark_edge[other] = f
                if last < 0:
                    head[a] = chain
                else:
                    following[last] = chain
                last = chain
            chain = after
        if last >= 0:
            following[last] = -1
        small = count_a <= _EAGER
        if small:
            chain = head[a]
            while chain >= 0:
                pending[waiting] = chain // 2
                waiting += 1
                chain = following[chain]
        chain = head[b]
        while chain >= 0:
            after = following[chain]
            f = chain // 2
            if alive[f]:
                other = second[f] if chain % 2 == 0 else first[f]
                if mark[other] == new:
                    kept = mark_edge[other]
                    length[kept] += length[f]
                    for c in range(strength.shape[1]):
                        strength[kept, c] += strength[f, c]
                    alive[f] = False
                    if not small:
                        pending[waiting] = kept
                        waiting += 1
                else:
                    if chain % 2 == 0:
                        first[f] = a
                    else:
                        second[f] = a
                    mark[other] = new
                    mark_edge[other] = f
                    following[chain] = head[a]
                    head[a] = chain
                    pending[waiting] = f
                    waiting += 1
            chain = after
    return children, height
