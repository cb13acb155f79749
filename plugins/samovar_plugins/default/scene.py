"""An embedding opened for decoding: its tensors by name, and what follows from them in a fraction of a millisecond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Frame
from .graph import adjacency

__all__ = ["Scene", "open_scene"]


@dataclass(frozen=True)
class Scene:
    """n leaves, e borders, t trees and c candidates of one image, all in working pixels.

    Attributes:
        frame: the sizes.
        labels: H×W uint16, the leaf of each working pixel.
        area, centre, box, rim: per leaf, as in `leaves.Leaves`.
        histogram: BINS×n uint8, shares of 255.
        border_first, border_second, border_length, border_strength: e each, as in the tensors.
        offsets, neighbour, step, weight: adjacency lists, see `graph.adjacency`.
        rim_distance: n float32, geodesic distance to the frame's edge.
        order, parent, height: t×…, the trees, see `nodes.Tree`.
        pool_tree, pool_start, pool_end, pool_box, pool_features: the candidates; `pool_features` is float16.
    """

    frame: Frame
    labels: NDArray[np.uint16]
    area: NDArray[np.float32]
    centre: NDArray[np.float32]
    box: NDArray[np.int16]
    rim: NDArray[np.float32]
    histogram: NDArray[np.uint8]
    border_first: NDArray[np.uint16]
    border_second: NDArray[np.uint16]
    border_length: NDArray[np.float32]
    border_strength: NDArray[np.float32]
    offsets: NDArray[np.int32]
    neighbour: NDArray[np.int32]
    step: NDArray[np.float32]
    weight: NDArray[np.float32]
    rim_distance: NDArray[np.float32]
    order: NDArray[np.uint16]
    parent: NDArray[np.int16]
    height: NDArray[np.float32]
    pool_tree: NDArray[np.uint8]
    pool_start: NDArray[np.uint16]
    pool_end: NDArray[np.uint16]
    pool_box: NDArray[np.float32]
    pool_features: NDArray[np.float16]

    @property
    def total(self) -> float:
        """Working pixels."""
        return float(self.frame.rows * self.frame.cols)

    def leaf_at(self, x: float, y: float) -> int:
        """The leaf under a working position, pixel centres at +0.5; positions on the far edge are inside."""
        col = min(max(int(x), 0), self.frame.cols - 1)
        row = min(max(int(y), 0), self.frame.rows - 1)
        return int(self.labels[row, col])


def open_scene(tensors: Mapping[str, Any], width: int, height: int) -> Scene:
    """The scene in an embedding's tensors; `width` and `height` are the image's."""
    get = tensors.__getitem__
    rows, cols = get("labels").shape
    offsets, neighbour, step, weight = adjacency(
        get("border_first"),
        get("border_second"),
        get("border_length"),
        get("border_strength"),
        get("leaf_centre"),
        float(rows * cols),
    )
    return Scene(
        frame=Frame(width, height, cols, rows),
        labels=get("labels"),
        area=get("leaf_area"),
        centre=get("leaf_centre"),
        box=get("leaf_box"),
        rim=get("leaf_rim"),
        histogram=get("leaf_histogram"),
        border_first=get("border_first"),
        border_second=get("border_second"),
        border_length=get("border_length"),
        border_strength=get("border_strength"),
        offsets=offsets,
        neighbour=neighbour,
        step=step,
        weight=weight,
        rim_distance=get("leaf_rim_distance"),
        order=get("tree_order"),
        parent=get("tree_parent"),
        height=get("tree_height"),
        pool_tree=get("pool_tree"),
        pool_start=get("pool_start"),
        pool_end=get("pool_end"),
        pool_box=get("pool_box"),
        pool_features=get("pool_features"),
    )
