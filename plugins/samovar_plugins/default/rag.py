"""The region adjacency graph: edges between neighbouring superpixels, what each looks like, and what travels over it.

Along each edge its length and summed edge strengths are kept, which add up when regions merge. From those come what a
merge across an edge costs, and, as adjacency lists, distances, averages and components.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .channels import GRADIENTS
from .superpixels import GROUPS, Superpixels

__all__ = [
    "EDGE_FEATURES",
    "FAR",
    "SIZELESS",
    "Cost",
    "RagEdges",
    "adjacency",
    "components",
    "describe_edges",
    "distances",
    "find_edges",
    "merge_cost",
    "network_row",
    "perimeters",
    "smoothed",
]

EDGE_FEATURES = 13
"""What a cost sees of an edge: 4 edge strengths, 4 histogram distances, colour distance, smaller and joint area,
emptiness of the joint box, share of the smaller perimeter."""

SIZELESS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12)
"""The features that say nothing of size."""

FAR = 3.0
"""Distances are cut here: whatever is farther is equally far."""

_STRONG = 30.0
_STEP = 0.05
_BINS = 512

_SHARE = EDGE_FEATURES - 1
_SIZES = len(SIZELESS)


class RagEdges(NamedTuple):
    """The e edges between neighbouring superpixels (4-neighbours).

    Attributes:
        first, second: e int32, superpixel indices.
        length: e float32, pixel sides.
        strength: e×GRADIENTS float32, summed edge strength along the edge.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    length: NDArray[np.float32]
    strength: NDArray[np.float32]


@njit
def _find_edges(
    labels: NDArray[np.int32], n: int, edges: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    rows, cols = labels.shape
    depth = edges.shape[2]
    capacity = 1
    for y in range(rows):
        for x in range(cols):
            if x + 1 < cols and labels[y, x] != labels[y, x + 1]:
                capacity += 1
            if y + 1 < rows and labels[y, x] != labels[y + 1, x]:
                capacity += 1
    head = np.full(n, -1, np.int32)
    following = np.empty(capacity, np.int32)
    first = np.empty(capacity, np.int32)
    second = np.empty(capacity, np.int32)
    length = np.zeros(capacity, np.float32)
    strength = np.zeros((capacity, depth), np.float32)
    found = 0
    for y in range(rows):
        for x in range(cols):
            for k in range(2):
                ny, nx = (y, x + 1) if k == 0 else (y + 1, x)
                if ny >= rows or nx >= cols:
                    continue
                a, b = labels[y, x], labels[ny, nx]
                if a == b:
                    continue
                if a > b:
                    a, b = b, a
                e = head[a]
                while e >= 0 and second[e] != b:
                    e = following[e]
                if e < 0:
                    e = found
                    found += 1
                    first[e] = a
                    second[e] = b
                    following[e] = head[a]
                    head[a] = e
                length[e] += 1
                for d in range(depth):
                    strength[e, d] += max(edges[y, x, d], edges[ny, nx, d])
    return first[:found].copy(), second[:found].copy(), length[:found].copy(), strength[:found].copy()


def find_edges(labels: NDArray[np.int32], n: int, edges: NDArray[np.float32]) -> RagEdges:
    """The edges between the n superpixels of H×W `labels`; `edges` is H×W×GRADIENTS edge strength."""
    if edges.shape[2] != GRADIENTS:
        raise ValueError(f"expected {GRADIENTS} planes of edge strength; got {edges.shape[2]}")
    return RagEdges(*_find_edges(labels, n, edges))


@njit(fastmath=True)
def edge_features(
    a: int,
    b: int,
    length: float,
    strength: NDArray[np.float32],
    regions: Superpixels,
    perimeter: NDArray[np.float32],
    total: float,
    out: NDArray[np.float32],
) -> float:
    """Fill `out` with the EDGE_FEATURES, tempered, of the edge between a and b; return their hand-made contrast."""
    area, box, colour, histogram = regions.area, regions.box, regions.colour, regions.histogram
    small = min(area[a], area[b])
    joint = area[a] + area[b]
    plain = strength[1] / length / 10
    for c in range(4):
        out[c] = np.log1p(strength[c] / length)
    inverse_a = np.float32(1) / area[a]
    inverse_b = np.float32(1) / area[b]
    for g in range(4):
        distance = np.float32(0)
        for k in range(GROUPS[g], GROUPS[g + 1]):
            p = histogram[a, k] * inverse_a
            q = histogram[b, k] * inverse_b
            gap = p - q
            distance += gap * gap / (p + q + np.float32(1e-9))
        plain += distance / 2
        out[4 + g] = np.sqrt(distance / 2)
    step = 0.0
    for c in range(3):
        gap_c = colour[a, c] / area[a] - colour[b, c] / area[b]
        step += gap_c * gap_c
    out[8] = np.log1p(np.sqrt(step))
    out[9] = np.log(small / total + 1e-5) / 3
    out[10] = np.log(joint / total + 1e-5) / 3
    wide = max(box[a, 2], box[b, 2]) - min(box[a, 0], box[b, 0])
    high = max(box[a, 3], box[b, 3]) - min(box[a, 1], box[b, 1])
    empty = (wide * high - joint) / total
    out[11] = np.sqrt(empty) if empty > 0 else -np.sqrt(-empty)
    share = length / min(perimeter[a], perimeter[b])
    out[12] = share
    return float(plain)


@njit(fastmath=True)
def network_row(
    net: NDArray[np.float32], inputs: int, hidden: int, row: NDArray[np.float32], scratch: NDArray[np.float32]
) -> float:
    """The output for one row of `inputs` features; `scratch` holds 2×hidden float32."""
    at = 2 * inputs
    one = scratch[0]
    two = scratch[1]
    b1 = at + inputs * hidden
    for k in range(hidden):
        one[k] = net[b1 + k]
    for d in range(inputs):
        value = (row[d] - net[d]) * net[inputs + d]
        start = at + d * hidden
        for k in range(hidden):
            one[k] += value * net[start + k]
    w2 = b1 + hidden
    b2 = w2 + hidden * hidden
    for k in range(hidden):
        two[k] = net[b2 + k]
    for d in range(hidden):
        value = one[d]
        if value > 0:
            start = w2 + d * hidden
            for k in range(hidden):
                two[k] += value * net[start + k]
    w3 = b2 + hidden
    total = float(net[w3 + hidden])
    for k in range(hidden):
        if two[k] > 0:
            total += two[k] * net[w3 + k]
    return total


@njit
def softplus(value: float) -> float:
    return float(np.log1p(np.exp(value))) if value < 20 else value


class Cost(NamedTuple):
    """What a `merge_trees.Recipe` multiplies, for kernels.

    Attributes:
        contrast, outline: whether those are factors.
        net, inputs, hidden: a network, its features (EDGE_FEATURES, as many as SIZELESS, or 0 for none) and units.
        size_power, share_power: exponents.
    """

    contrast: bool
    outline: bool
    net: NDArray[np.float32]
    inputs: int
    hidden: int
    size_power: float
    share_power: float


@njit(fastmath=True)
def merge_cost(
    a: int,
    b: int,
    length: float,
    strength: NDArray[np.float32],
    regions: Superpixels,
    perimeter: NDArray[np.float32],
    total: float,
    by: Cost,
    row: NDArray[np.float32],
    scratch: NDArray[np.float32],
) -> float:
    """What merging a and b across their edge costs.

    Args:
        strength: of the edge; the last entry is the summed outline probability.
        row, scratch: EDGE_FEATURES and 2×hidden float32, overwritten.
    """
    cost = edge_features(a, b, length, strength, regions, perimeter, total, row)
    share = row[_SHARE]
    if not by.contrast:
        cost = 1.0
    if by.outline:
        cost *= strength[strength.shape[0] - 1] / length + 0.05
    if by.inputs > 0:
        if by.inputs == _SIZES:  # the features of size are left out, so what is behind them moves up
            row[_SIZES - 1] = share
        cost *= softplus(network_row(by.net, by.inputs, by.hidden, row, scratch) + 2)
    small = min(regions.area[a], regions.area[b])
    whole: float = cost * (small / total) ** by.size_power * (1.2 - share) ** by.share_power
    return whole


@njit(fastmath=True)
def _describe_edges(
    rag: RagEdges, regions: Superpixels, perimeter: NDArray[np.float32], total: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    edges = rag.first.shape[0]
    out = np.empty((edges, EDGE_FEATURES), np.float32)
    plain = np.empty(edges, np.float32)
    for e in range(edges):
        a, b = rag.first[e], rag.second[e]
        plain[e] = edge_features(a, b, rag.length[e], rag.strength[e], regions, perimeter, total, out[e])
    return out, plain


def describe_edges(superpixels: Superpixels, rag: RagEdges) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """e×EDGE_FEATURES float32 features, and e float32 hand-made contrast that says nothing of size."""
    return _describe_edges(rag, superpixels, perimeters(rag, len(superpixels.area)), float(superpixels.area.sum()))


def perimeters(rag: RagEdges, n: int) -> NDArray[np.float32]:
    """n float32: the length of each superpixel's edges."""
    total = np.bincount(rag.first, weights=rag.length, minlength=n)
    total += np.bincount(rag.second, weights=rag.length, minlength=n)
    return total.astype(np.float32)


@njit
def adjacency(
    first: NDArray[np.uint16],
    second: NDArray[np.uint16],
    length: NDArray[np.float32],
    strength: NDArray[np.float32],
    centre: NDArray[np.float32],
    total: float,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Adjacency lists of e superpixel edges.

    Returns:
        n+1 int32 offsets; 2e int32 neighbours; 2e float32 geodesic lengths (centre distance in frame diagonals' unit,
        root of the area, dearer across strong edges); 2e float32 averaging weights, each superpixel's summing to 1.
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
    """Shortest way from the nearest source to each superpixel, FAR at most.

    Dijkstra's algorithm, except that the superpixels that wait are sorted only into bins of like distance. One that
    turns out to be nearer than when it was last gone through is gone through again: that is rare, and cheaper than a
    heap.
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
    """Each superpixel's average of its neighbours' values, weighted by how weak the edge between is."""
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
    """Number the connected pieces of the chosen superpixels and of the others alike, in superpixel order."""
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
