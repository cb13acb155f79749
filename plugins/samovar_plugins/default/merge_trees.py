"""Merge trees: superpixels joined greedily, cheapest edge first, by several costs.

A priority queue holds every edge with the cost it had when it was last looked at. The cheapest is taken; if its two
sides have grown much since, its cost is computed anew and it goes back. Large regions therefore do not force hundreds
of edges to be recomputed at every merge, which is what makes naive agglomeration quadratic.

Superpixels are numbered in depth-first order of a tree, so that a node *is* an interval of that order and membership
needs no matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .network import hidden_units
from .rag import EDGE_FEATURES, SIZELESS, Cost, RagEdges, merge_cost, perimeters
from .superpixels import Superpixels

__all__ = [
    "PLAIN",
    "RECIPES",
    "Recipe",
    "Tree",
    "lay_out",
    "merge_superpixels",
]

_STALE = 1.1  # an edge is looked at again once its two sides together have grown by this factor
_EAGER = 4  # regions with more edges than this have them looked at again only when they come up


class _Heap(NamedTuple):
    """Edges by what they cost, as a binary heap in the first so many places. Ties go to the lower edge."""

    cost: NDArray[np.float64]
    edge: NDArray[np.int32]


@njit
def _push(heap: _Heap, held: int, cost: float, edge: int) -> None:
    """Add one to the `held` entries; there is room."""
    i = held
    while i > 0:
        up = (i - 1) // 2
        if heap.cost[up] < cost or (heap.cost[up] == cost and heap.edge[up] <= edge):
            break
        heap.cost[i], heap.edge[i] = heap.cost[up], heap.edge[up]
        i = up
    heap.cost[i], heap.edge[i] = cost, edge


@njit
def _pop(heap: _Heap, held: int) -> None:
    """Remove the first of the `held` entries."""
    last = held - 1
    cost, edge = heap.cost[last], heap.edge[last]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        other = child + 1
        if other < last and (
            heap.cost[other] < heap.cost[child]
            or (heap.cost[other] == heap.cost[child] and heap.edge[other] < heap.edge[child])
        ):
            child = other
        if cost < heap.cost[child] or (cost == heap.cost[child] and edge <= heap.edge[child]):
            break
        heap.cost[i], heap.edge[i] = heap.cost[child], heap.edge[child]
        i = child
    heap.cost[i], heap.edge[i] = cost, edge


class _Chains(NamedTuple):
    """The live edges of every region as linked lists: edge e is 2e in that of its first side, 2e + 1 in the other's."""

    head: NDArray[np.int32]
    following: NDArray[np.int32]


@njit
def _count(chains: _Chains, a: int) -> int:
    count = 0
    at = chains.head[a]
    while at >= 0:
        count += 1
        at = chains.following[at]
    return count


class _Marks(NamedTuple):
    """For every region, the last merge that found it to be a neighbour, and by which edge."""

    merge: NDArray[np.int32]
    edge: NDArray[np.int32]


@njit(fastmath=True)
def _take_over(
    chains: _Chains,
    rag: RagEdges,
    alive: NDArray[np.bool_],
    marks: _Marks,
    a: int,
    b: int,
    merge: int,
    few: bool,
    pending: NDArray[np.int32],
) -> int:
    """Give b's edges to a, joining those to one neighbour; returns how many edges wait for a new cost in `pending`.

    With few edges all of a's wait, otherwise only those that changed: the others are looked at when they come up.
    """
    # rebuild a's chain without dead edges, remembering the edge to each neighbour
    at, last = chains.head[a], -1
    chains.head[a] = -1
    while at >= 0:
        after = chains.following[at]
        e = at // 2
        if alive[e]:
            other = rag.second[e] if at % 2 == 0 else rag.first[e]
            marks.merge[other] = merge
            marks.edge[other] = e
            if last < 0:
                chains.head[a] = at
            else:
                chains.following[last] = at
            last = at
        at = after
    if last >= 0:
        chains.following[last] = -1
    waiting = 0
    at = chains.head[a]
    while few and at >= 0:
        pending[waiting] = at // 2
        waiting += 1
        at = chains.following[at]
    at = chains.head[b]
    while at >= 0:
        after = chains.following[at]
        e = at // 2
        if alive[e]:
            other = rag.second[e] if at % 2 == 0 else rag.first[e]
            if marks.merge[other] == merge:
                kept = marks.edge[other]
                rag.length[kept] += rag.length[e]
                for c in range(rag.strength.shape[1]):
                    rag.strength[kept, c] += rag.strength[e, c]
                alive[e] = False
                if not few:
                    pending[waiting] = kept
                    waiting += 1
            else:
                if at % 2 == 0:
                    rag.first[e] = a
                else:
                    rag.second[e] = a
                marks.merge[other] = merge
                marks.edge[other] = e
                chains.following[at] = chains.head[a]
                chains.head[a] = at
                pending[waiting] = e
                waiting += 1
        at = after
    return waiting


@njit(fastmath=True)
def _merge(
    rag: RagEdges, regions: Superpixels, perimeter: NDArray[np.float32], total: float, cost: Cost
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(n−1)×2 children and n−1 heights of a merge tree. All arrays but those of `cost` are consumed."""
    n, edges = regions.area.shape[0], rag.first.shape[0]
    children = np.full((max(n - 1, 0), 2), -1, np.int32)
    height = np.zeros(max(n - 1, 0), np.float32)
    node = np.arange(n).astype(np.int32)
    floor = np.zeros(n, np.float64)
    seen = np.zeros(edges, np.float32)
    alive = np.ones(edges, np.bool_)
    chains = _Chains(np.full(n, -1, np.int32), np.full(2 * edges, -1, np.int32))
    for e in range(edges):
        for at, side in ((2 * e, rag.first[e]), (2 * e + 1, rag.second[e])):
            chains.following[at] = chains.head[side]
            chains.head[side] = at
    marks = _Marks(np.full(n, -1, np.int32), np.empty(n, np.int32))
    row = np.empty(EDGE_FEATURES, np.float32)
    scratch = np.empty((2, max(cost.hidden, 1)), np.float32)
    heap = _Heap(np.empty(4 * edges + 64, np.float64), np.empty(4 * edges + 64, np.int32))
    held, made = 0, 0
    pending = np.arange(edges).astype(np.int32)
    waiting = edges
    while True:
        if held + waiting > heap.cost.shape[0]:
            heap = _Heap(np.append(heap.cost, np.empty_like(heap.cost)), np.append(heap.edge, np.empty_like(heap.edge)))
        for k in range(waiting):
            e = pending[k]
            a, b = rag.first[e], rag.second[e]
            price = merge_cost(a, b, rag.length[e], rag.strength[e], regions, perimeter, total, cost, row, scratch)
            seen[e] = regions.area[a] + regions.area[b]
            _push(heap, held, price, e)
            held += 1
        waiting = 0
        if held == 0:
            break
        e, price = heap.edge[0], heap.cost[0]
        _pop(heap, held)
        held -= 1
        if not alive[e]:
            continue
        a, b = rag.first[e], rag.second[e]
        if regions.area[a] + regions.area[b] > seen[e] * np.float32(_STALE):
            pending[0] = e
            waiting = 1
            continue
        # merge b into a, where a has the longer chain of edges; so its stale edges are looked at lazily
        count = _count(chains, a)
        if _count(chains, b) > count:
            a, b = b, a
        alive[e] = False
        children[made, 0] = node[a]
        children[made, 1] = node[b]
        level = max(price, max(floor[a], floor[b]))
        height[made] = level
        floor[a] = level
        node[a] = n + made
        regions.area[a] += regions.area[b]
        for k in range(regions.histogram.shape[1]):
            regions.histogram[a, k] += regions.histogram[b, k]
        for k in range(4):
            regions.colour[a, k] += regions.colour[b, k]
        for k in range(2):
            regions.box[a, k] = min(regions.box[a, k], regions.box[b, k])
            regions.box[a, k + 2] = max(regions.box[a, k + 2], regions.box[b, k + 2])
        perimeter[a] += perimeter[b] - 2 * rag.length[e]
        waiting = _take_over(chains, rag, alive, marks, a, b, n + made, count <= _EAGER, pending)
        made += 1
    return children, height


_NO_NET = np.zeros(1, np.float32)
_NO_NET.setflags(write=False)  # as fitted ones are: numba compiles a kernel again for arrays that can be written to


@dataclass(frozen=True)
class Recipe:
    """A cost of merging across an edge: the product of the factors that it names.

    Attributes:
        contrast: the hand-made difference in edge strength, histograms and texture.
        network: softplus of a network's log-odds, on "all" or "sizeless" features, or "none".
        outline: the mean probability that the edge's superpixel edges are outlines.
        size_power: (smaller area / whole) to this power, so that small regions go first.
        share_power: (1.2 − share of the smaller perimeter) to this power, so that inclusions go first.
    """

    contrast: bool
    network: Literal["none", "all", "sizeless"]
    outline: bool
    size_power: float
    share_power: float


PLAIN = Recipe(True, "none", False, 0.12, 1.0)
"""The cost that needs nothing fitted."""

RECIPES = (
    Recipe(True, "sizeless", False, 0.12, 2.0),
    Recipe(False, "all", False, 0.12, 1.0),
    Recipe(False, "sizeless", False, 0.06, 1.0),
    Recipe(True, "none", True, 0.12, 1.0),
    Recipe(True, "sizeless", False, 0.0, 1.0),
)
"""One tree each: unlike enough that together they hold most objects."""


def merge_superpixels(
    superpixels: Superpixels,
    rag: RagEdges,
    recipe: Recipe,
    net: NDArray[np.float32] | None = None,
    outline: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """One merge tree over n superpixels.

    Args:
        superpixels, edges: the superpixels and their neighbourhood, which must be connected.
        recipe: the cost.
        net: a network on EDGE_FEATURES, or on SIZELESS ones, whose output is the log-odds of an object's outline.
        outline: e float32, the probability that each superpixel edge is an object's outline; 0 if not given.

    Returns:
        (n−1)×2 int32, the two children of nodes n, n+1, … (below n they are superpixels), and n−1 float32, the cost
        at which each was made, never below its children's.
    """
    likely = np.zeros(len(rag.length), np.float32) if outline is None else outline
    inputs = {"none": 0, "all": EDGE_FEATURES, "sizeless": len(SIZELESS)}[recipe.network if net is not None else "none"]
    strength = np.concatenate([rag.strength, (likely * rag.length)[:, None]], axis=1)
    hidden = 1 if net is None else hidden_units(len(net), inputs)
    return _merge(
        RagEdges(rag.first.copy(), rag.second.copy(), rag.length.copy(), strength),
        Superpixels._make(array.copy() for array in superpixels),
        perimeters(rag, len(superpixels.area)),
        float(superpixels.area.sum()),
        Cost(
            recipe.contrast,
            recipe.outline,
            _NO_NET if net is None else net,
            inputs,
            hidden,
            recipe.size_power,
            recipe.share_power,
        ),
    )


class Tree(NamedTuple):
    """One merge tree over n superpixels; nodes 0…n−1 are the superpixels, 2n−2 the root.

    Attributes:
        order: n int32, superpixels in depth-first order.
        start, end: 2n−1 int32, each node's interval of `order`.
        parent: 2n−1 int32, −1 for the root.
        height: 2n−1 float32, the merge cost as a share of the root's; 0 for superpixels.
    """

    order: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    parent: NDArray[np.int32]
    height: NDArray[np.float32]


@njit
def _lay_out(
    children: NDArray[np.int32], n: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    nodes = 2 * n - 1
    parent = np.full(nodes, -1, np.int32)
    size = np.ones(nodes, np.int32)
    for k in range(n - 1):
        for side in range(2):
            parent[children[k, side]] = n + k
        size[n + k] = size[children[k, 0]] + size[children[k, 1]]
    start = np.zeros(nodes, np.int32)
    for k in range(n - 2, -1, -1):
        start[children[k, 0]] = start[n + k]
        start[children[k, 1]] = start[n + k] + size[children[k, 0]]
    order = np.empty(n, np.int32)
    for superpixel in range(n):
        order[start[superpixel]] = superpixel
    return order, start, start + size, parent


def lay_out(children: NDArray[np.int32], height: NDArray[np.float32], n: int) -> Tree:
    """The tree over n superpixels with these merges (see `merge_superpixels`), laid out depth first."""
    order, start, end, parent = _lay_out(children, n)
    top = float(height.max()) if len(height) else 0.0
    levels = np.concatenate([np.zeros(n, np.float32), height / np.float32(top if top > 0 else 1)])
    return Tree(order, start, end, parent, levels.astype(np.float32))
