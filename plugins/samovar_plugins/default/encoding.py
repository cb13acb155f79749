"""From pixels to the tensors of an embedding, and from those, with a prompt, to what decoding works on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .channels import describe_pixels
from .merge_trees import RECIPES, lay_out, merge_superpixels
from .network import Weights
from .proposals import proposal_tensors
from .rag import SIZELESS, adjacency, describe_edges, distances, find_edges
from .superpixels import describe_superpixels, grow_regions

if TYPE_CHECKING:
    from samovar.masks import Masks

__all__ = [
    "MAX_SIDE",
    "MAX_SUPERPIXELS",
    "WORK_PIXELS",
    "Query",
    "RegionGraph",
    "WorkingFrame",
    "cover",
    "encode_pixels",
    "make_query",
    "mask_prior",
    "nearest_pixel",
    "open_graph",
    "regions_of",
    "surroundings",
    "working_copy",
]

WORK_PIXELS = 160_000
"""Pixels of the working frame: a 640×480 photo is seen at 462×346."""

MAX_SIDE = 4096
"""Longest working side, so that a 20,000×1 strip stays a strip of bounded size."""

MAX_ZOOM = 2.0
"""Small images are enlarged at most this much; beyond it there is nothing more to see."""


@dataclass(frozen=True)
class WorkingFrame:
    """The sizes of an image and of its working copy, in pixels."""

    width: int
    height: int
    cols: int
    rows: int

    @classmethod
    def of(cls, width: int, height: int) -> WorkingFrame:
        """The working frame of a `width`×`height` image."""
        zoom = min(math.sqrt(WORK_PIXELS / (width * height)), MAX_ZOOM, MAX_SIDE / max(width, height))
        return cls(width, height, max(1, round(width * zoom)), max(1, round(height * zoom)))

    @property
    def zoom_x(self) -> float:
        """Working pixels per image pixel along x."""
        return self.cols / self.width

    @property
    def zoom_y(self) -> float:
        """Working pixels per image pixel along y."""
        return self.rows / self.height


@dataclass(frozen=True)
class RegionGraph:
    """n superpixels, e edges, t trees and c proposals of one image, all in working pixels.

    Attributes:
        frame: the sizes.
        labels: H×W uint16, the superpixel of each working pixel.
        area, centre, box, rim: per superpixel, as in `superpixels.Superpixels`.
        histogram: BINS×n uint8, shares of 255.
        edge_first, edge_second, edge_length, edge_strength: e each, as in the tensors.
        offsets, neighbour, step, weight: adjacency lists, see `rag.adjacency`.
        rim_distance: n float32, geodesic distance to the frame's edge.
        order, parent, height: t×…, the trees, see `merge_trees.Tree`.
        proposal_tree, proposal_start, proposal_end, proposal_box, proposal_features: the proposals; `proposal_features`
            is float16.
    """

    frame: WorkingFrame
    labels: NDArray[np.uint16]
    area: NDArray[np.float32]
    centre: NDArray[np.float32]
    box: NDArray[np.int16]
    rim: NDArray[np.float32]
    histogram: NDArray[np.uint8]
    edge_first: NDArray[np.uint16]
    edge_second: NDArray[np.uint16]
    edge_length: NDArray[np.float32]
    edge_strength: NDArray[np.float32]
    offsets: NDArray[np.int32]
    neighbour: NDArray[np.int32]
    step: NDArray[np.float32]
    weight: NDArray[np.float32]
    rim_distance: NDArray[np.float32]
    order: NDArray[np.uint16]
    parent: NDArray[np.int16]
    height: NDArray[np.float32]
    proposal_tree: NDArray[np.uint8]
    proposal_start: NDArray[np.uint16]
    proposal_end: NDArray[np.uint16]
    proposal_box: NDArray[np.float32]
    proposal_features: NDArray[np.float16]

    @property
    def pool(self) -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16]]:
        """The trees' order and the proposals' trees, starts and ends, which kernels take together."""
        return self.order, self.proposal_tree, self.proposal_start, self.proposal_end

    @property
    def total(self) -> float:
        """Working pixels."""
        return float(self.frame.rows * self.frame.cols)

    def superpixel_at(self, x: float, y: float) -> int:
        """The superpixel under a working position, pixel centres at +0.5; positions on the far edge are inside."""
        col = min(max(int(x), 0), self.frame.cols - 1)
        row = min(max(int(y), 0), self.frame.rows - 1)
        return int(self.labels[row, col])


def open_graph(tensors: Mapping[str, Any], width: int, height: int) -> RegionGraph:
    """The graph in an embedding's tensors; `width` and `height` are the image's."""
    get = tensors.__getitem__
    rows, cols = get("labels").shape
    offsets, neighbour, step, weight = adjacency(
        get("edge_first"),
        get("edge_second"),
        get("edge_length"),
        get("edge_strength"),
        get("superpixel_centre"),
        float(rows * cols),
    )
    return RegionGraph(
        frame=WorkingFrame(width, height, cols, rows),
        labels=get("labels"),
        area=get("superpixel_area"),
        centre=get("superpixel_centre"),
        box=get("superpixel_box"),
        rim=get("superpixel_rim"),
        histogram=get("superpixel_histogram"),
        edge_first=get("edge_first"),
        edge_second=get("edge_second"),
        edge_length=get("edge_length"),
        edge_strength=get("edge_strength"),
        offsets=offsets,
        neighbour=neighbour,
        step=step,
        weight=weight,
        rim_distance=get("superpixel_rim_distance"),
        order=get("tree_order"),
        parent=get("tree_parent"),
        height=get("tree_height"),
        proposal_tree=get("proposal_tree"),
        proposal_start=get("proposal_start"),
        proposal_end=get("proposal_end"),
        proposal_box=get("proposal_box"),
        proposal_features=get("proposal_features"),
    )


@dataclass(frozen=True)
class Query:
    """One prompt in working pixels.

    Attributes:
        positive, negative: k×2 float32, (x, y).
        positive_superpixels, negative_superpixels: k int64, the superpixel under each.
        box: 4 float32, x1 y1 x2 y2, or None.
        prior: n float32 in 0…1, how much of each superpixel a mask prompt claims, or None.
    """

    positive: NDArray[np.float32]
    negative: NDArray[np.float32]
    positive_superpixels: NDArray[np.int64]
    negative_superpixels: NDArray[np.int64]
    box: NDArray[np.float32] | None
    prior: NDArray[np.float32] | None


def make_query(
    graph: RegionGraph,
    points: NDArray[np.float32],
    labels: NDArray[np.int8],
    box: NDArray[np.float32] | None,
    prior: NDArray[np.float32] | None,
) -> Query:
    """The query of points (k×2, image pixels), their labels, a box (image pixels) and a prior over superpixels."""
    frame = graph.frame
    zoom = np.array([frame.zoom_x, frame.zoom_y], np.float32)
    at = points.astype(np.float32) * zoom
    at = np.minimum(np.maximum(at, 0), np.array([frame.cols, frame.rows], np.float32))
    superpixels = np.array([graph.superpixel_at(float(x), float(y)) for x, y in at], np.int64)
    good = labels > 0
    if box is not None:
        size = np.array([frame.cols, frame.rows] * 2, np.float32)
        box = np.minimum(np.maximum(box.astype(np.float32) * np.tile(zoom, 2), 0), size)
    return Query(at[good], at[~good], superpixels[good], superpixels[~good], box, prior)


@njit
def cover(labels: NDArray[np.uint16], area: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """n float32: the share of each superpixel whose pixel centres are inside the box (at least one pixel's)."""
    rows, cols = labels.shape
    x1, x2 = int(np.ceil(box[0] - 0.5)), int(np.ceil(box[2] - 0.5))
    y1, y2 = int(np.ceil(box[1] - 0.5)), int(np.ceil(box[3] - 0.5))
    x1, y1 = min(max(x1, 0), cols - 1), min(max(y1, 0), rows - 1)
    x2, y2 = min(max(x2, x1 + 1), cols), min(max(y2, y1 + 1), rows)
    out = np.zeros(area.shape[0], np.float32)
    for y in range(y1, y2):
        for x in range(x1, x2):
            out[labels[y, x]] += 1
    for i in range(out.shape[0]):
        out[i] /= area[i]
    return out


@njit
def surroundings(
    covered: NDArray[np.float32],
    area: NDArray[np.float32],
    centre: NDArray[np.float32],
    vote: NDArray[np.float32],
    middle_x: float,
    middle_y: float,
    half_x: float,
    half_y: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Around a box: how much each superpixel counts as near background, as object, and as background (n float32
    each).
    """
    n = area.shape[0]
    near = np.empty(n, np.float32)
    wanted = np.empty(n, np.float32)
    unwanted = np.empty(n, np.float32)
    for i in range(n):
        beside = abs(centre[i, 0] - middle_x) < 2 * half_x and abs(centre[i, 1] - middle_y) < 2 * half_y
        near[i] = 1.1 if beside else 0.1
        wanted[i] = area[i] * vote[i] * covered[i]
        unwanted[i] = area[i] * (1 - covered[i]) * near[i]
    return near, wanted, unwanted


@njit
def nearest_pixel(labels: NDArray[np.uint16], n: int, x: float, y: float, reach: float) -> NDArray[np.float32]:
    """n float32: working pixels from (x, y) to each superpixel's nearest pixel centre; 1e9 if that is well beyond
    `reach`.
    """
    rows, cols = labels.shape
    out = np.full(n, np.float32(1e18))
    for j in range(max(int(y - reach), 0), min(int(y + reach) + 1, rows)):
        dy = np.float32(j + 0.5 - y)
        dy2 = dy * dy
        wide = math.sqrt(max(reach * reach - float(dy2), 0.0)) + 1
        for i in range(max(int(x - wide), 0), min(int(x + wide) + 1, cols)):
            dx = np.float32(i + 0.5 - x)
            d = dx * dx + dy2
            superpixel = labels[j, i]
            if d < out[superpixel]:
                out[superpixel] = d
    for k in range(n):
        out[k] = np.sqrt(out[k])
    return out


def mask_prior(graph: RegionGraph, mask: Masks | NDArray[np.float32]) -> NDArray[np.float32]:
    """n float32 in 0…1: the mean of the mask over each superpixel.

    Args:
        mask: one mask at the image's size, or h×w float32 logits covering the whole image at any resolution.
    """
    if isinstance(mask, np.ndarray):
        claimed = 1 / (1 + np.exp(-np.clip(mask, -20, 20)))
    else:
        claimed = mask.to_array()[0]
    frame = graph.frame
    claimed = claimed.astype(np.float32)
    shrink = claimed.shape[0] > frame.rows or claimed.shape[1] > frame.cols
    way = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    field = cv2.resize(claimed, (frame.cols, frame.rows), interpolation=way)
    total = np.bincount(graph.labels.ravel(), weights=field.ravel(), minlength=len(graph.area))
    return np.asarray(np.clip(total / graph.area, 0, 1), np.float32)


MAX_SUPERPIXELS = 3000
"""Where there would be more (noise, foliage), the smallest ones are merged."""

_TOLERANCE = 20.0
_MIN_SIZE = 12


def working_copy(pixels: NDArray[np.uint8], frame: WorkingFrame) -> NDArray[np.uint8]:
    """H×W×3 uint8 `pixels` at the working size."""
    if (frame.cols, frame.rows) == (frame.width, frame.height):
        return pixels
    way = cv2.INTER_AREA if frame.cols < frame.width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (frame.cols, frame.rows), interpolation=way), np.uint8)


def regions_of(smooth: NDArray[np.float32]) -> tuple[NDArray[np.int32], int]:
    """Superpixel labels of a blurred H×W×3 float32 image, and their number: MAX_SUPERPIXELS at most."""
    return grow_regions(smooth, _TOLERANCE, _MIN_SIZE, MAX_SUPERPIXELS)


def encode_pixels(pixels: NDArray[np.uint8], frame: WorkingFrame, weights: Weights) -> dict[str, NDArray[Any]]:
    """All tensors of the embedding of an H×W×3 uint8 RGB image; their meaning is in `RegionGraph`."""
    copy = working_copy(pixels, frame)
    channels = describe_pixels(copy)
    labels, n = regions_of(channels.smooth)
    superpixels = describe_superpixels(labels, n, channels)
    rag = find_edges(labels, n, channels.edges)
    features, plain = describe_edges(superpixels, rag)
    by_hand = np.clip(plain / 2, 0, 1).astype(np.float32)
    strength = weights.probabilities("border_sizeless", np.ascontiguousarray(features[:, SIZELESS]), by_hand)
    nets = {"none": None, "all": weights.edge, "sizeless": weights.edge_sizeless}
    trees = [
        lay_out(*merge_superpixels(superpixels, rag, recipe, nets[recipe.network], strength), n) for recipe in RECIPES
    ]
    histogram = superpixels.histogram / superpixels.area[:, None]
    tensors: dict[str, NDArray[Any]] = {
        "labels": labels.astype(np.uint16),
        "superpixel_area": superpixels.area,
        "superpixel_centre": superpixels.centre,
        "superpixel_box": superpixels.box.astype(np.int16),
        "superpixel_rim": superpixels.rim.astype(np.float32),
        "superpixel_histogram": np.rint(histogram * 255).astype(np.uint8).T,
        "edge_first": rag.first.astype(np.uint16),
        "edge_second": rag.second.astype(np.uint16),
        "edge_length": rag.length,
        "edge_strength": strength,
        "tree_order": np.stack([tree.order for tree in trees]).astype(np.uint16),
        "tree_parent": np.stack([tree.parent for tree in trees]).astype(np.int16),
        "tree_height": np.stack([tree.height for tree in trees]),
    }
    for tensor in tensors.values():  # as in an embedding: a kernel is compiled again for arrays that can be written to
        tensor.setflags(write=False)
    offsets, neighbour, step, _ = adjacency(
        tensors["edge_first"],
        tensors["edge_second"],
        tensors["edge_length"],
        tensors["edge_strength"],
        tensors["superpixel_centre"],
        float(labels.size),
    )
    tensors["superpixel_rim_distance"] = distances(offsets, neighbour, step, superpixels.rim > 0)
    tensors.update(proposal_tensors(trees, superpixels, rag, strength, frame.rows, frame.cols))
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}
