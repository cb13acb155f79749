"""Region proposals: the nodes of all merge trees, what object-like regions look like, and which superpixels each holds.

The pool is the union of all trees' nodes. A node found by several trees is kept once and counted: agreement of trees
is the best single sign of an object. Sets of superpixels are compared by a 64-bit sum of random numbers, one each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .merge_trees import Tree
from .rag import RagEdges
from .superpixels import Superpixels

__all__ = ["NODE_FEATURES", "describe_nodes", "holding", "members", "proposal_tensors", "superpixel_sums", "votes"]

NODE_FEATURES = 20
"""log area share, filling of the box, log aspect, share of outline on the frame's edge, log roundness, mean and mean
square outline strength, mean inner strength, height, persistence, contrast with its ring, log colour spread, number
of trees that have it, frame sides touched, centre x and y, log number of superpixels, log parent's area ratio, outline
strength beyond the inner one, root of the area share."""

_LARGEST = 0.95  # of the frame: nodes beyond it are no objects


@njit
def holding(
    superpixel: int,
    order: NDArray[np.uint16],
    tree: NDArray[np.uint8],
    start: NDArray[np.uint16],
    end: NDArray[np.uint16],
) -> NDArray[np.bool_]:
    """Which proposals hold a superpixel."""
    place = np.empty(order.shape[0], np.int32)
    for t in range(order.shape[0]):
        for i in range(order.shape[1]):
            if order[t, i] == superpixel:
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
    """k×n bool: the superpixels of each proposal."""
    out = np.zeros((index.shape[0], order.shape[1]), np.bool_)
    for k in range(index.shape[0]):
        c = index[k]
        for i in range(start[c], end[c]):
            out[k, order[tree[c], i]] = True
    return out


@njit
def superpixel_sums(
    index: NDArray[np.int64],
    value: NDArray[np.float32],
    order: NDArray[np.uint16],
    tree: NDArray[np.uint8],
    start: NDArray[np.uint16],
    end: NDArray[np.uint16],
) -> NDArray[np.float32]:
    """For each proposal, the sum of a per-superpixel value over its superpixels."""
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
    """w×n float32: for each of w×k weightings of the k proposals, the weight of those that hold each superpixel, in
    0…1.
    """
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


@njit(fastmath=True)
def describe_nodes(
    tree: Tree, superpixels: Superpixels, rag: RagEdges, strength: NDArray[np.float32], rows: int, cols: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Features, boxes and areas of every node.

    Args:
        strength: e float32, the probability that each superpixel edge is an object boundary.

    Returns:
        (2n−1)×NODE_FEATURES float32 (column 12, the number of trees, is left 0), (2n−1)×4 float32 boxes in
        working pixels, and 2n−1 float32 areas.
    """
    parent, height, first, second, length = tree.parent, tree.height, rag.first, rag.second, rag.length
    area, centre, rim, colour = superpixels.area, superpixels.centre, superpixels.rim, superpixels.colour
    leaf_box, histogram = superpixels.box, superpixels.histogram
    n = area.shape[0]
    nodes = parent.shape[0]
    bins = histogram.shape[1]
    total = np.float64(rows * cols)
    # sums: 0 area, 1 area·x, 2 area·y, 3 rim, 4 superpixels, 5–8 colour,
    # 9–11 all edge lengths, strengths, squares; 12–14 the same of inner edges
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


@njit
def _sums(
    order: NDArray[np.int32], start: NDArray[np.int32], end: NDArray[np.int32], code: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    n = order.shape[0]
    running = np.zeros(n + 1, np.uint64)
    for i in range(n):
        running[i + 1] = running[i] + code[order[i]]
    out = np.empty(start.shape[0], np.uint64)
    for i in range(start.shape[0]):
        out[i] = running[end[i]] - running[start[i]]
    return out


def proposal_tensors(
    trees: list[Tree], superpixels: Superpixels, rag: RagEdges, strength: NDArray[np.float32], rows: int, cols: int
) -> dict[str, NDArray[Any]]:
    """The union of all trees' nodes: tree, interval, box and features of each, in a fixed order."""
    code = np.random.default_rng(7).integers(0, 2**63, len(superpixels.area), dtype=np.uint64)
    tree_of, start, end, box, area, features, sums = [], [], [], [], [], [], []
    for index, tree in enumerate(trees):
        about, boxes, areas = describe_nodes(tree, superpixels, rag, strength, rows, cols)
        features.append(about)
        box.append(boxes)
        area.append(areas)
        start.append(tree.start)
        end.append(tree.end)
        tree_of.append(np.full(len(areas), index, np.uint8))
        sums.append(_sums(tree.order, tree.start, tree.end, code))
    table = np.concatenate(features)
    _, where, same, count = np.unique(np.concatenate(sums), return_index=True, return_inverse=True, return_counts=True)
    persistence = np.zeros(len(where), np.float32)
    np.maximum.at(persistence, same.ravel(), table[:, 9])
    table = table[where]
    table[:, 9] = persistence
    table[:, 12] = count
    # A superpixel stays however large it is (superpixels come first): each place needs a proposal that holds it, also
    # where a flat background is one superpixel.
    keep = (np.concatenate(area)[where] <= _LARGEST * rows * cols) | (where < len(superpixels.area))
    where = where[keep]
    return {
        "proposal_tree": np.concatenate(tree_of)[where],
        "proposal_start": np.concatenate(start)[where].astype(np.uint16),
        "proposal_end": np.concatenate(end)[where].astype(np.uint16),
        "proposal_box": np.concatenate(box)[where].astype(np.float32),
        "proposal_features": table[keep].astype(np.float16),
    }
