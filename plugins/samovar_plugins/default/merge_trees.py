"""Merge trees: superpixels joined greedily, cheapest edge first, by several costs.

A priority queue holds every edge with the cost it had when it was last looked at. The cheapest is taken; if its two
sides have grown much since, its cost is computed anew and it goes back. Large regions therefore do not force hundreds
of edges to be recomputed at every merge, which is what makes naive agglomeration quadratic.

Superpixels are numbered in depth-first order of a tree, so that a node *is* an interval of that order and membership
needs no matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .network import hidden_units
from .rag import EDGE_FEATURES, SIZELESS, RagEdges, describe_all, merge_cost
from .superpixels import Superpixels

__all__ = [
    "PLAIN",
    "RECIPES",
    "Recipe",
    "Tree",
    "describe_edges",
    "lay_out",
    "merge",
    "merge_superpixels",
    "perimeters",
]

_STALE = 1.1  # an edge is looked at again once its two sides together have grown by this factor
_EAGER = 4  # regions with more edges than this have them looked at again only when they come up


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
    """Remove the first entry of the heap; return how many are left. Ties go to the lower edge index."""
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
    """(n−1)×2 children and n−1 heights of a merge tree. All arrays are consumed; see `merge_cost` for the others."""
    n = area.shape[0]
    edges = first.shape[0]
    children = np.full((max(n - 1, 0), 2), -1, np.int32)
    height = np.zeros(max(n - 1, 0), np.float32)
    node = np.arange(n).astype(np.int32)
    floor = np.zeros(n, np.float64)
    seen = np.zeros(edges, np.float32)
    alive = np.ones(edges, np.bool_)
    # each live edge is in two chains, one for each side
    head = np.full(n, -1, np.int32)
    following = np.full(2 * edges, -1, np.int32)
    for e in range(edges):
        following[2 * e] = head[first[e]]
        head[first[e]] = 2 * e
        following[2 * e + 1] = head[second[e]]
        head[second[e]] = 2 * e + 1
    row = np.empty(EDGE_FEATURES, np.float32)
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
            cost = merge_cost(
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
        # merge b into a, where a has the longer chain of edges; so its stale edges are looked at lazily
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
        # rebuild a's chain without dead edges, remembering the edge to each neighbour
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
    return merge(
        rag.first.copy(),
        rag.second.copy(),
        rag.length.copy(),
        np.concatenate([rag.strength, (likely * rag.length)[:, None]], axis=1),
        superpixels.area.copy(),
        superpixels.histogram.copy(),
        superpixels.colour.copy(),
        superpixels.box.copy(),
        perimeters(rag, len(superpixels.area)),
        float(superpixels.area.sum()),
        recipe.contrast,
        recipe.outline,
        _NO_NET if net is None else net,
        inputs,
        1 if net is None else hidden_units(len(net), inputs),
        recipe.size_power,
        recipe.share_power,
    )


def describe_edges(superpixels: Superpixels, rag: RagEdges) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """e×EDGE_FEATURES float32 features, and e float32 hand-made contrast that says nothing of size."""
    return describe_all(
        rag.first,
        rag.second,
        rag.length,
        rag.strength,
        superpixels.area,
        superpixels.histogram,
        superpixels.colour,
        superpixels.box,
        perimeters(rag, len(superpixels.area)),
        float(superpixels.area.sum()),
    )


def perimeters(rag: RagEdges, n: int) -> NDArray[np.float32]:
    """n float32: the length of each superpixel's edges."""
    total = np.bincount(rag.first, weights=rag.length, minlength=n)
    total += np.bincount(rag.second, weights=rag.length, minlength=n)
    return total.astype(np.float32)


@dataclass(frozen=True)
class Tree:
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
