"""Fits the two networks that say whether an edge between two regions is an object's outline.

Samples are the edges of an image's partitions into n, n/2, n/4 … regions, along the merge tree of the hand-made cost.
An edge between a region of one object and a region outside it is an outline; one inside an object is not; one between
two unannotated regions says nothing and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fit_default.examples import Example
from benchmarks.fit_default.training import train
from benchmarks.fit_default.truth import to_frame
from samovar_plugins.default.channels import describe_pixels
from samovar_plugins.default.encoding import WorkingFrame, regions_of, working_copy
from samovar_plugins.default.merge_trees import PLAIN, merge_superpixels
from samovar_plugins.default.rag import SIZELESS, RagEdges, describe_edges, find_edges
from samovar_plugins.default.superpixels import Superpixels, describe_superpixels

__all__ = ["EdgeSamples", "fit_edges", "sample_edges"]


@dataclass(frozen=True)
class EdgeSamples:
    """s edges: features s×13, whether outlines (s), and how much each counts (s)."""

    rows: NDArray[np.float32]
    outline: NDArray[np.float32]
    weight: NDArray[np.float32]


def _cut(superpixels: Superpixels, rag: RagEdges, group: NDArray[np.int64], count: int) -> tuple[Superpixels, RagEdges]:
    """The superpixels and edges of a coarser partition: `group` is each superpixel's new region."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(count))

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.add.reduceat(values[order].astype(np.float64), starts, axis=0)

    low, high = np.minimum.reduceat(superpixels.box[order], starts), np.maximum.reduceat(superpixels.box[order], starts)
    box = np.concatenate([low[:, :2], high[:, 2:]], axis=1)
    area = total(superpixels.area)
    merged = Superpixels(
        area.astype(np.float32),
        box,
        np.zeros((count, 2), np.float32),
        total(superpixels.rim).astype(np.float32),
        total(superpixels.colour),
        total(superpixels.histogram).astype(np.float32),
    )
    a, b = group[rag.first], group[rag.second]
    apart = a != b
    key = np.minimum(a, b)[apart] * count + np.maximum(a, b)[apart]
    names, inverse = np.unique(key, return_inverse=True)
    length = np.bincount(inverse, weights=rag.length[apart], minlength=len(names))
    strength = np.stack(
        [np.bincount(inverse, weights=plane, minlength=len(names)) for plane in rag.strength[apart].T], axis=1
    )
    return merged, RagEdges(
        (names // count).astype(np.int32),
        (names % count).astype(np.int32),
        length.astype(np.float32),
        strength.astype(np.float32),
    )


def sample_edges(example: Example) -> EdgeSamples:
    """Samples from one picture."""
    height, width = example.pixels.shape[:2]
    frame = WorkingFrame.of(width, height)
    channels = describe_pixels(working_copy(example.pixels, frame))
    labels, n = regions_of(channels.smooth)
    superpixels = describe_superpixels(labels, n, channels)
    rag = find_edges(labels, n, channels.edges)
    children, _ = merge_superpixels(superpixels, rag, PLAIN)
    share = np.zeros((n, len(example.masks) + 1))
    for k, mask in enumerate(example.masks):
        share[:, k + 1] = np.bincount(labels[to_frame(mask, frame)], minlength=n)
    share[:, 0] = np.maximum(superpixels.area - share.sum(axis=1), 0)
    rows, outline, weight = [], [], []
    count = n
    while count >= 6:
        root = np.arange(2 * n - 1)
        for k in range(n - count - 1, -1, -1):
            root[children[k]] = root[n + k]
        # nodes made later sit above; walk down from the kept ones
        _, group = np.unique(root[:n], return_inverse=True)
        merged, edges = _cut(superpixels, rag, group, count)
        owner = np.stack([np.bincount(group, weights=column, minlength=count) for column in share.T], axis=1)
        main, purity = owner.argmax(axis=1), owner.max(axis=1) / owner.sum(axis=1)
        a, b = main[edges.first], main[edges.second]
        pure = np.minimum(purity[edges.first], purity[edges.second])
        useful = ((a > 0) | (b > 0)) & (pure > 0.65)
        features, _ = describe_edges(merged, edges)
        rows.append(features[useful])
        outline.append((a != b)[useful])
        weight.append((pure * np.sqrt(edges.length))[useful] / np.sqrt(count))
        count = int(count * 0.55)
    return EdgeSamples(
        np.concatenate(rows), np.concatenate(outline).astype(np.float32), np.concatenate(weight).astype(np.float32)
    )


def fit_edges(parts: list[EdgeSamples], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Both networks: `edge` on all features, `edge_sizeless` on those that say nothing of size."""
    rows = np.concatenate([part.rows for part in parts])
    target = torch.tensor(np.concatenate([part.outline for part in parts]))
    weight = np.concatenate([part.weight / part.weight.sum() for part in parts if len(part.weight)])
    scale = torch.tensor((weight / weight.mean()).astype(np.float32))

    def batches(rng: np.random.Generator) -> list[NDArray[np.int64]]:
        order = rng.permutation(len(rows))
        return np.array_split(order, max(len(rows) // 4096, 1))

    def loss(out: torch.Tensor, batch: NDArray[np.int64]) -> torch.Tensor:
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(out, target[batch], reduction="none")
        return (entropy * scale[batch]).mean()

    columns = {"border": np.arange(rows.shape[1]), "border_sizeless": np.array(SIZELESS)}
    return {
        name: train(np.ascontiguousarray(rows[:, keep]), batches, loss, hidden=20, epochs=6, rate=1e-2, seed=seed)
        for name, keep in columns.items()
    }
