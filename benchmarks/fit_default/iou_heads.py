"""Fits the networks that predict an answer's IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fit_default.training import train
from benchmarks.fit_default.unaries import Asked
from samovar_plugins.default.decoding import REFINED, hypotheses
from samovar_plugins.default.encoding import RegionGraph
from samovar_plugins.default.network import Weights

__all__ = ["IouSamples", "fit_iou_head", "sample_iou_head"]


@dataclass(frozen=True)
class IouSamples:
    """Answers of one family: rows r×IOU_FEATURES, their true IoUs (r), which prompt each is of (r), its weight (r)."""

    family: str
    rows: NDArray[np.float32]
    iou: NDArray[np.float32]
    prompt: NDArray[np.int64]
    weight: NDArray[np.float32]


def sample_iou_head(graph: RegionGraph, asked: list[Asked], weights: Weights) -> list[IouSamples]:
    """The hypotheses that the present weights have for each prompt, and how good they are."""
    out = []
    for number, one in enumerate(asked):
        known = hypotheses(graph, one.query, weights, REFINED)
        truth = graph.area * one.share
        inside = known.sets @ truth
        iou = inside / (known.sets @ graph.area + truth.sum() - inside + 1e-6)
        count = len(iou)
        out.append(
            IouSamples(
                one.family,
                known.rows,
                iou.astype(np.float32),
                np.full(count, number),
                np.full(count, one.weight / count, np.float32),
            )
        )
    return out


def fit_iou_head(family: str, parts: list[list[IouSamples]], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """The IoU head of one family: cross-entropy with the true IoU, and the best-scored answer should be a good one."""
    kept = [part for samples in parts for part in samples if part.family == family]
    rows = np.concatenate([part.rows for part in kept])
    iou = torch.tensor(np.concatenate([part.iou for part in kept]))
    weight = torch.tensor(np.concatenate([part.weight for part in kept]))
    offsets = np.cumsum([0, *(len(part.rows) for part in kept)])
    group = np.repeat(np.arange(len(kept)), np.diff(offsets))

    def batches(rng: np.random.Generator) -> list[NDArray[np.int64]]:
        order = rng.permutation(len(kept))
        return [
            np.concatenate([np.arange(offsets[g], offsets[g + 1]) for g in part])
            for part in np.array_split(order, max(len(kept) // 64, 1))
        ]

    def loss(out: torch.Tensor, batch: NDArray[np.int64]) -> torch.Tensor:
        names, inverse = np.unique(group[batch], return_inverse=True)
        which = torch.tensor(inverse)
        zero = torch.zeros(len(names))
        w, truth = weight[batch], iou[batch]
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(out, truth, reduction="none")
        odds = torch.exp(torch.sigmoid(out) * 15)
        unary = odds / zero.index_add(0, which, odds)[which]
        whole = zero.index_add(0, which, w)
        good = (zero.index_add(0, which, unary * truth) * whole).sum() / whole.sum()
        return (entropy * w).sum() / w.sum() - good

    return {f"judge_{family}": train(rows, batches, loss, hidden=16, epochs=8, rate=5e-3, decay=0.05, seed=seed)}
