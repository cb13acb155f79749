"""What the truth is in terms of superpixels, and the prompts that people would give for it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar_plugins.default.encoding import RegionGraph, WorkingFrame

__all__ = ["Click", "deepest", "jittered", "leaf_share", "next_click", "random_click", "tight_box", "to_frame"]

Click = tuple[float, float, int]
"""x, y in pixels (centres at +0.5), and 1 for foreground or 0 for background."""


def to_frame(mask: NDArray[np.bool_], frame: WorkingFrame) -> NDArray[np.bool_]:
    """An image-sized mask at the working size."""
    size = (frame.cols, frame.rows)
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5)


def leaf_share(graph: RegionGraph, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """n float32: the share of each superpixel that an image-sized mask covers."""
    size = (graph.frame.cols, graph.frame.rows)
    field = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = np.bincount(graph.labels.ravel(), weights=field.ravel(), minlength=len(graph.area))
    return (total / graph.area).astype(np.float32)


def deepest(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """The pixel centre farthest from the mask's outline, and its distance."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    place = int(depth.argmax())
    return place % mask.shape[1] + 0.5, place // mask.shape[1] + 0.5, float(depth.flat[place])


def random_click(mask: NDArray[np.bool_], rng: np.random.Generator) -> Click:
    """A click anywhere inside, more likely deep inside."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1].ravel()
    unary = depth.astype(np.float64)
    place = int(rng.choice(len(unary), p=unary / unary.sum()))
    return place % mask.shape[1] + 0.5, place // mask.shape[1] + 0.5, 1


def next_click(truth: NDArray[np.bool_], guess: NDArray[np.bool_]) -> Click | None:
    """The middle of the largest error: deepest pixel missed or wrongly taken; None when all is right."""
    missed, extra = truth & ~guess, guess & ~truth
    x1, y1, depth1 = deepest(missed) if missed.any() else (0.0, 0.0, 0.0)
    x2, y2, depth2 = deepest(extra) if extra.any() else (0.0, 0.0, 0.0)
    if max(depth1, depth2) <= 0:
        return None
    return (x1, y1, 1) if depth1 >= depth2 else (x2, y2, 0)


def tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """x1 y1 x2 y2 float32, right and bottom exclusive."""
    xs, ys = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)


def jittered(
    box: NDArray[np.float32], width: int, height: int, spread: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The box with each side moved by about `spread` of its length, kept inside the image."""
    size = np.tile([box[2] - box[0], box[3] - box[1]], 2)
    moved = np.clip(box + rng.normal(size=4) * size * spread, 0, [width, height, width, height])
    if moved[2] - moved[0] < 2 or moved[3] - moved[1] < 2:
        return box
    return np.asarray(moved, np.float32)
