"""Fits the two networks that predict how well a proposal matches what a point or a box asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fit_default.training import train
from benchmarks.fit_default.truth import deepest, jittered, leaf_share, random_click, tight_box
from samovar_plugins.default.encoding import RegionGraph
from samovar_plugins.default.prompt_fit import box_rows, point_rows
from samovar_plugins.default.proposals import superpixel_sums

__all__ = ["ProposalSamples", "fit_proposals", "sample_proposals", "true_iou"]

_SHARPNESS = 8.0
_MOST = 120


@dataclass(frozen=True)
class ProposalSamples:
    """Rows of features (r×d), the true IoU of each (r), and where each prompt's rows begin (p+1)."""

    rows: NDArray[np.float32]
    iou: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @classmethod
    def concat(cls, parts: list[ProposalSamples]) -> ProposalSamples:
        """All of them, one after another."""
        starts = np.cumsum([0, *(len(part.rows) for part in parts)])
        offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts)]
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.iou for part in parts]),
            np.concatenate([*offsets, starts[-1:]]),
        )


def true_iou(graph: RegionGraph, share: NDArray[np.float32], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """k float32: the IoU of the chosen proposals with the truth, n float32 shares of superpixels."""
    mass = (graph.area * share).astype(np.float32)
    inside = superpixel_sums(chosen, mass, *graph.pool)
    area = superpixel_sums(chosen, graph.area, *graph.pool)
    return np.asarray(inside / (area + mass.sum() - inside + 1e-6), np.float32)


def sample_proposals(
    graph: RegionGraph, masks: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[ProposalSamples, ProposalSamples]:
    """Samples for points and for boxes from one picture's masks (k×H×W bool)."""
    frame = graph.frame
    points: list[ProposalSamples] = []
    boxes: list[ProposalSamples] = []
    for mask in masks:
        share = leaf_share(graph, mask)
        x, y, _ = deepest(mask)
        for cx, cy in ((x, y), (x, y), random_click(mask, rng)[:2]):
            ax, ay = cx * frame.zoom_x, cy * frame.zoom_y
            points.append(_part(graph, share, *point_rows(graph, ax, ay, graph.superpixel_at(ax, ay)), rng))
        zoom = np.tile(np.array([frame.zoom_x, frame.zoom_y], np.float32), 2)
        box = tight_box(mask)
        given = box, jittered(box, frame.width, frame.height, 0.05, rng)
        boxes.extend(_part(graph, share, *box_rows(graph, one * zoom), rng) for one in given)
    return ProposalSamples.concat(points), ProposalSamples.concat(boxes)


def _part(
    graph: RegionGraph,
    share: NDArray[np.float32],
    chosen: NDArray[np.int64],
    rows: NDArray[np.float32],
    rng: np.random.Generator,
) -> ProposalSamples:
    if len(chosen) > _MOST:
        keep = np.sort(rng.choice(len(chosen), _MOST, replace=False))
        chosen, rows = chosen[keep], rows[keep]
    return ProposalSamples(rows, true_iou(graph, share, chosen), np.array([0, len(rows)]))


def _fit(samples: ProposalSamples, hidden: int, epochs: int, seed: int) -> NDArray[np.float32]:
    count = len(samples.offsets) - 1
    group = np.repeat(np.arange(count), np.diff(samples.offsets))
    target = torch.tensor(samples.iou)

    def batches(rng: np.random.Generator) -> list[NDArray[np.int64]]:
        order = rng.permutation(count)
        return [
            np.concatenate([np.arange(samples.offsets[g], samples.offsets[g + 1]) for g in part])
            for part in np.array_split(order, max(count // 32, 1))
        ]

    def loss(out: torch.Tensor, batch: NDArray[np.int64]) -> torch.Tensor:
        names, inverse = np.unique(group[batch], return_inverse=True)
        which = torch.tensor(inverse)
        zero = torch.zeros(len(names))
        share = 1 / zero.index_add(0, which, torch.ones(len(batch)))[which] / len(names)
        truth = target[batch]
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(out, truth, reduction="none")
        # and the weighted vote should fall on proposals that are good
        odds = torch.exp(torch.sigmoid(out) * _SHARPNESS)
        unary = odds / zero.index_add(0, which, odds)[which]
        return (entropy * share).sum() - 0.5 * (unary * truth).sum() / len(names)

    return train(samples.rows, batches, loss, hidden=hidden, epochs=epochs, rate=6e-3, decay=0.1, seed=seed)


def fit_proposals(points: ProposalSamples, boxes: ProposalSamples, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Both networks: `candidate_point` and `candidate_box`."""
    return {
        "candidate_point": _fit(points, 16, 8, seed),
        "candidate_box": _fit(boxes, 16, 8, seed),
    }
