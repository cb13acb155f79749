"""The neighbourhood graph of leaves as adjacency lists, and what travels over it: distances, averages, components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["FAR", "adjacency", "components", "distances", "smoothed"]

FAR = 3.0
"""Distances are cut here: whatever is farther is equally far."""

_STRONG = 30.0
_STEP = 0.05
_BINS = 512


@njit
def adjacency(
    first: NDArray[np.uint16],
    second: NDArray[np.uint16],
    length: NDArray[np.float32],
    strength: NDArray[np.float32],
    centre: NDArray[np.float32],
    total: float,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Adjacency lists of e leaf borders.

    Returns:
        n+1 int32 offsets; 2e int32 neighbours; 2e float32 geodesic lengths (centre distance in frame diagonals' unit,
        root of the area, dearer across strong borders); 2e float32 averaging weights, each leaf's summing to 1.
    """
    n, edges = centre.shape[0], first.shape[0]
    offsets = np.zeros(n + 1, np.int32)
    for e in range(edges):
        offsets[int(first[e]) + 1] += 1
        offsets[int(second[e]) + 1] += 1
    for i in range(n):
        offsets[i + 1] += offsets[i]
    place = offsets[:-1].copy()
    neighbour = np.empty(2 * edges, np.int32)
    distance = np.empty(2 * edges, np.float32)
    weight = np.empty(2 * edges, np.float32)
    root = np.sqrt(total)
    for e in range(edges):
        a, b = int(first[e]), int(second[e])
        dx, dy = centre[a, 0] - centre[b, 0], centre[a, 1] - centre[b, 1]
        s = strength[e]
        far = (s * s * _STRONG + _STEP) * np.sqrt(dx * dx + dy * dy) / root
        near = length[e] * (1 - s) * (1 - s) + 1e-3
        neighbour[place[a]] = b
        neighbour[place[b]] = a
        distance[place[a]] = far
        distance[place[b]] = far
        weight[place[a]] = near
        weight[place[b]] = near
        place[a] += 1
        place[b] += 1
    for i in range(n):
        mass = 0.0
        for k in range(offsets[i], offsets[i + 1]):
            mass += weight[k]
        for k in range(offsets[i], offsets[i + 1]):
            weight[k] /= mass
    return offsets, neighbour, distance, weight


@njit
def distances(
    offsets: NDArray[np.int32], neighbour: NDArray[np.int32], step: NDArray[np.float32], source: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Shortest way from the nearest source to each leaf, FAR at most.

    Dijkstra's algorithm, except that the leaves that wait are sorted only into bins of like distance. One that turns
    out to be nearer than when it was last gone through is gone through again: that is rare, and cheaper than a heap.
    """
    n = offsets.shape[0] - 1
    out = np.full(n, np.float32(FAR))
    head = np.full(_BINS, -1, np.int32)  # each bin is a doubly linked list
    place = np.full(n, -1, np.int32)
    after, before = np.empty(n, np.int32), np.empty(n, np.int32)
    scale = np.float32(_BINS / FAR)
    for i in range(n):
        if source[i]:
            out[i] = 0
            edge = False
            for k in range(offsets[i], offsets[i + 1]):
                edge |= not source[neighbour[k]]
            if edge:
                place[i], after[i], before[i] = 0, head[0], -1
                if head[0] >= 0:
                    before[head[0]] = i
                head[0] = i
    for b in range(_BINS):
        while head[b] >= 0:
            i = head[b]
            head[b] = after[i]
            place[i] = -1
            if head[b] >= 0:
                before[head[b]] = -1
            for k in range(offsets[i], offsets[i + 1]):
                j = neighbour[k]
                longer = out[i] + step[k]
                if longer >= out[j]:
                    continue
                out[j] = longer
                into = min(int(longer * scale), _BINS - 1)
                if place[j] == into:
                    continue
                if place[j] >= 0:
                    if before[j] >= 0:
                        after[before[j]] = after[j]
                    else:
                        head[place[j]] = after[j]
                    if after[j] >= 0:
                        before[after[j]] = before[j]
                place[j], after[j], before[j] = into, head[into], -1
                if head[into] >= 0:
                    before[head[into]] = j
                head[into] = j
    return out


@njit(fastmath=True)
def smoothed(
    offsets: NDArray[np.int32], neighbour: NDArray[np.int32], weight: NDArray[np.float32], value: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Each leaf's average of its neighbours' values, weighted by how weak the border between is."""
    n = offsets.shape[0] - 1
    out = np.zeros(n, np.float32)
    for i in range(n):
        total = np.float32(0)
        for k in range(offsets[i], offsets[i + 1]):
            total += weight[k] * value[neighbour[k]]
        out[i] = total
    return out


@njit
def components(
    offsets: NDArray[np.int32], neighbour: NDArray[np.int32], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], int]:
    """Number the connected pieces of the chosen leaves and of the others alike, in leaf order."""
    n = offsets.shape[0] - 1
    piece = np.full(n, -1, np.int32)
    stack = np.empty(n, np.int32)
    found = 0
    for start in range(n):
        if piece[start] >= 0:
            continue
        piece[start] = found
        stack[0] = start
        held = 1
        while held > 0:
            held -= 1
            i = stack[held]
            for k in range(offsets[i], offsets[i + 1]):
                j = neighbour[k]
                if piece[j] < 0 and chosen[j] == chosen[i]:
                    piece[j] = found
                    stack[held] = j
                    held += 1
        found += 1
    return piece, found
