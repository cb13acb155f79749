"""From pixels to tensors: regions, their merge trees, and the pool of candidate objects, kept compactly.

The pool is the union of all trees' nodes. A node found by several trees is kept once and counted: agreement of trees
is the best single sign of an object. Sets of leaves are compared by a 64-bit sum of random numbers, one a leaf.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .border_costs import SIZELESS
from .channels import describe_pixels
from .frame import Frame
from .graph import adjacency, distances
from .leaves import Borders, Leaves, count_leaves, find_borders
from .merging import RECIPES, describe_borders, merge_leaves
from .nodes import Tree, describe_nodes, lay_out
from .regions import grow_regions
from .weights import Weights

__all__ = ["MAX_LEAVES", "encode_pixels", "regions_of", "working_copy"]

MAX_LEAVES = 3000
"""Where there would be more (noise, foliage), the smallest ones are merged."""

_TOLERANCE = 20.0
_MIN_SIZE = 12
_LARGEST = 0.95  # of the frame: nodes beyond it are no objects


def working_copy(pixels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    """H×W×3 uint8 `pixels` at the working size."""
    if (frame.cols, frame.rows) == (frame.width, frame.height):
        return pixels
    way = cv2.INTER_AREA if frame.cols < frame.width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (frame.cols, frame.rows), interpolation=way), np.uint8)


def regions_of(smooth: NDArray[np.float32]) -> tuple[NDArray[np.int32], int]:
    """Leaf labels of a blurred H×W×3 float32 image, and their number: MAX_LEAVES at most."""
    return grow_regions(smooth, _TOLERANCE, _MIN_SIZE, MAX_LEAVES)


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


def _pool(
    trees: list[Tree], leaves: Leaves, borders: Borders, strength: NDArray[np.float32], rows: int, cols: int
) -> dict[str, NDArray[Any]]:
    """The union of all trees' nodes: tree, interval, box and features of each, in a fixed order."""
    code = np.random.default_rng(7).integers(0, 2**63, len(leaves.area), dtype=np.uint64)
    tree_of, start, end, box, area, features, sums = [], [], [], [], [], [], []
    for index, tree in enumerate(trees):
        about, boxes, areas = describe_nodes(tree, leaves, borders, strength, rows, cols)
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
    # A leaf stays however large it is (leaves come first): each place needs a candidate that holds it, also where a
    # flat background is one leaf.
    keep = (np.concatenate(area)[where] <= _LARGEST * rows * cols) | (where < len(leaves.area))
    where = where[keep]
    return {
        "pool_tree": np.concatenate(tree_of)[where],
        "pool_start": np.concatenate(start)[where].astype(np.uint16),
        "pool_end": np.concatenate(end)[where].astype(np.uint16),
        "pool_box": np.concatenate(box)[where].astype(np.float32),
        "pool_features": table[keep].astype(np.float16),
    }


def encode_pixels(pixels: NDArray[np.uint8], frame: Frame, weights: Weights) -> dict[str, NDArray[Any]]:
    """All tensors of the embedding of an H×W×3 uint8 RGB image; their meaning is in `scene.Scene`."""
    copy = working_copy(pixels, frame)
    channels = describe_pixels(copy)
    labels, n = regions_of(channels.smooth)
    leaves = count_leaves(labels, n, channels)
    borders = find_borders(labels, n, channels.edges)
    features, plain = describe_borders(leaves, borders)
    by_hand = np.clip(plain / 2, 0, 1).astype(np.float32)
    strength = weights.probabilities("border_sizeless", np.ascontiguousarray(features[:, SIZELESS]), by_hand)
    nets = {"none": None, "all": weights.border, "sizeless": weights.border_sizeless}
    trees = [lay_out(*merge_leaves(leaves, borders, recipe, nets[recipe.network], strength), n) for recipe in RECIPES]
    histogram = leaves.histogram / leaves.area[:, None]
    tensors: dict[str, NDArray[Any]] = {
        "labels": labels.astype(np.uint16),
        "leaf_area": leaves.area,
        "leaf_centre": leaves.centre,
        "leaf_box": leaves.box.astype(np.int16),
        "leaf_rim": leaves.rim.astype(np.float32),
        "leaf_histogram": np.rint(histogram * 255).astype(np.uint8).T,
        "border_first": borders.first.astype(np.uint16),
        "border_second": borders.second.astype(np.uint16),
        "border_length": borders.length,
        "border_strength": strength,
        "tree_order": np.stack([tree.order for tree in trees]).astype(np.uint16),
        "tree_parent": np.stack([tree.parent for tree in trees]).astype(np.int16),
        "tree_height": np.stack([tree.height for tree in trees]),
    }
    for tensor in tensors.values():  # as in an embedding: a kernel is compiled again for arrays that can be written to
        tensor.setflags(write=False)
    offsets, neighbour, step, _ = adjacency(
        tensors["border_first"],
        tensors["border_second"],
        tensors["border_length"],
        tensors["border_strength"],
        tensors["leaf_centre"],
        float(labels.size),
    )
    tensors["leaf_rim_distance"] = distances(offsets, neighbour, step, leaves.rim > 0)
    tensors.update(_pool(trees, leaves, borders, strength, frame.rows, frame.cols))
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}
