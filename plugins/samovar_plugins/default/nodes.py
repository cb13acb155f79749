"""Every node of a merge tree as a candidate object: where it lies, and what an object-like region looks like.

Leaves are numbered in depth-first order of the tree, so that a node *is* an interval of that order and membership
needs no matrix. Statistics of a node's outline come from leaf borders by inclusion and exclusion: a border is inside
the lowest common ancestor of its two leaves and above, and is outline below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .leaves import Borders, Leaves

__all__ = ["NODE_FEATURES", "Tree", "describe_nodes", "lay_out"]

NODE_FEATURES = 20
"""log area share, filling of the box, log aspect, share of outline on the frame's edge, log roundness, mean and mean
square outline strength, mean inner strength, height, persistence, contrast with its ring, log colour spread, number
of trees that have it, frame sides touched, centre x and y, log number of leaves, log parent's area ratio, outline
strength beyond the inner one, root of the area share."""


@dataclass(frozen=True)
class Tree:
    """One merge tree over n leaves; nodes 0…n−1 are the leaves, 2n−2 the root.

    Attributes:
        order: n int32, leaves in depth-first order.
        start, end: 2n−1 int32, each node's interval of `order`.
        parent: 2n−1 int32, −1 for the root.
        height: 2n−1 float32, the merge cost as a share of the root's; 0 for leaves.
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
    for leaf in range(n):
        order[start[leaf]] = leaf
    return order, start, start + size, parent


def lay_out(children: NDArray[np.int32], height: NDArray[np.float32], n: int) -> Tree:
    """The tree over n leaves with these merges (see `merge_leaves`), laid out depth first."""
    order, start, end, parent = _lay_out(children, n)
    top = float(height.max()) if len(height) else 0.0
    levels = np.concatenate([np.zeros(n, np.float32), height / np.float32(top if top > 0 else 1)])
    return Tree(order, start, end, parent, levels.astype(np.float32))


@njit(fastmath=True)
def _describe(
    parent: NDArray[np.int32],
    height: NDArray[np.float32],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    length: NDArray[np.float32],
    strength: NDArray[np.float32],
    area: NDArray[np.float32],
    leaf_box: NDArray[np.float32],
    centre: NDArray[np.float32],
    rim: NDArray[np.float32],
    colour: NDArray[np.float64],
    histogram: NDArray[np.float32],
    rows: int,
    cols: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    n = area.shape[0]
    nodes = parent.shape[0]
    bins = histogram.shape[1]
    total = np.float64(rows * cols)
    # sums: 0 area, 1 area·x, 2 area·y, 3 rim, 4 leaves, 5–8 colour,
    # 9–11 all border lengths, strengths, squares; 12–14 the same of inner borders
    sums = np.zeros((nodes, 15), np.float64)
    own = np.zeros((nodes, bins), np.float32)
    ring = np.zeros((nodes, bins), np.float32)
    box = np.empty((nodes, 4), np.float32)
    for i in range(n):
        sums[i, 0] = area[i]
        sums[i, 1] = area[i] * centre[i, 0]
        sums[i, 2] = area[i] * centre[i, 1]
        sums[i, 3] = rim[i]
        sums[i, 4] = 1
        for c in range(4):
            sums[i, 5 + c] = colour[i, c]
            box[i, c] = leaf_box[i, c]
        for k in range(bins):
            own[i, k] = histogram[i, k]
    for i in range(n, nodes):
        box[i, 0] = cols
        box[i, 1] = rows
        box[i, 2] = 0
        box[i, 3] = 0
    for e in range(first.shape[0]):
        a, b = first[e], second[e]
        for i in (a, b):
            sums[i, 9] += length[e]
            sums[i, 10] += length[e] * strength[e]
            sums[i, 11] += length[e] * strength[e] * strength[e]
        weight_a = length[e] / area[a]
        weight_b = length[e] / area[b]
        for k in range(bins):
            ring[a, k] += weight_b * histogram[b, k]
            ring[b, k] += weight_a * histogram[a, k]
        u, v = a, b
        while u != v:
            if u < v:
                u = parent[u]
            else:
                v = parent[v]
        sums[u, 12] += length[e]
        sums[u, 13] += length[e] * strength[e]
        sums[u, 14] += length[e] * strength[e] * strength[e]
        for k in range(bins):
            ring[u, k] -= weight_b * histogram[b, k] + weight_a * histogram[a, k]
    for i in range(nodes - 1):
        up = parent[i]
        for c in range(15):
            sums[up, c] += sums[i, c]
        for k in range(bins):
            own[up, k] += own[i, k]
            ring[up, k] += ring[i, k]
        box[up, 0] = min(box[up, 0], box[i, 0])
        box[up, 1] = min(box[up, 1], box[i, 1])
        box[up, 2] = max(box[up, 2], box[i, 2])
        box[up, 3] = max(box[up, 3], box[i, 3])
    out = np.zeros((nodes, 20), np.float32)
    for i in range(nodes):
        size = sums[i, 0]
        wide, high = box[i, 2] - box[i, 0], box[i, 3] - box[i, 1]
        outline = max(sums[i, 9] - 2 * sums[i, 12], 0.0)
        outline_strength = max(sums[i, 10] - 2 * sums[i, 13], 0.0) / (outline + 1e-9)
        outline_square = max(sums[i, 11] - 2 * sums[i, 14], 0.0) / (outline + 1e-9)
        inner_strength = sums[i, 13] / (sums[i, 12] + 1e-9)
        own_mass, ring_mass = np.float32(0), np.float32(0)
        for k in range(bins):
            own_mass += own[i, k]
            ring_mass += max(ring[i, k], np.float32(0))
        contrast = np.float32(0)
        if ring_mass > np.float32(1e-3):
            for k in range(bins):
                p = own[i, k] / own_mass
                q = max(ring[i, k], np.float32(0)) / ring_mass
                contrast += (p - q) * (p - q) / (p + q + np.float32(1e-9))
        spread = sums[i, 8] / size
        for c in range(3):
            spread -= (sums[i, 5 + c] / size) ** 2
        up = parent[i]
        out[i, 0] = np.log(size / total)
        out[i, 1] = size / (wide * high)
        out[i, 2] = np.log(wide / high)
        out[i, 3] = sums[i, 3] / (outline + sums[i, 3] + 1e-9)
        out[i, 4] = np.log((outline + sums[i, 3]) ** 2 / (12.566 * size) + 0.05)
        out[i, 5] = outline_strength
        out[i, 6] = outline_square
        out[i, 7] = inner_strength
        out[i, 8] = height[i]
        out[i, 9] = (height[up] if up >= 0 else np.float32(1)) - height[i]
        out[i, 10] = contrast / 2
        out[i, 11] = np.log1p(np.sqrt(max(spread, 0.0)))
        sides = 0
        if box[i, 0] <= 0:
            sides += 1
        if box[i, 1] <= 0:
            sides += 1
        if box[i, 2] >= cols:
            sides += 1
        if box[i, 3] >= rows:
            sides += 1
        out[i, 13] = sides
        out[i, 14] = sums[i, 1] / size / cols
        out[i, 15] = sums[i, 2] / size / rows
        out[i, 16] = np.log1p(sums[i, 4])
        out[i, 17] = np.log(sums[up, 0] / size) if up >= 0 else 0.0
        out[i, 18] = outline_strength - inner_strength
        out[i, 19] = np.sqrt(size / total)
    return out, box, sums[:, 0].astype(np.float32)


def describe_nodes(
    tree: Tree, leaves: Leaves, borders: Borders, strength: NDArray[np.float32], rows: int, cols: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Features, boxes and areas of every node.

    Args:
        strength: e float32, the probability that each leaf border is an object boundary.

    Returns:
        (2n−1)×NODE_FEATURES float32 (column 12, the number of trees, is left 0), (2n−1)×4 float32 boxes in
        working pixels, and 2n−1 float32 areas.
    """
    return _describe(
        tree.parent,
        tree.height,
        borders.first,
        borders.second,
        borders.length,
        strength,
        leaves.area,
        leaves.box,
        leaves.centre,
        leaves.rim,
        leaves.colour,
        leaves.histogram,
        rows,
        cols,
    )
