"""Fits the two networks that predict how well a candidate matches what a point or a box asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fit_default.training import train
from benchmarks.fit_default.truth import deepest, jittered, leaf_share, random_click, tight_box
from samovar_plugins.default.encoding import Scene
from samovar_plugins.default.prompt_fit import box_rows, point_rows
from samovar_plugins.default.proposals import leaf_sums

__all__ = ["CandidateSamples", "fit_candidates", "sample_candidates", "true_iou"]

_SHARPNESS = 8.0
_MOST = 120


@dataclass(frozen=True)
class CandidateSamples:
    """Rows of features (r×d), the true IoU of each (r), and where each prompt's rows begin (p+1)."""

    rows: NDArray[np.float32]
    iou: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @classmethod
    def concat(cls, parts: list[CandidateSamples]) -> CandidateSamples:
        """All of them, one after another."""
        starts = np.cumsum([0, *(len(part.rows) for part in parts)])
        offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts)]
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.iou for part in parts]),
            np.concatenate([*offsets, starts[-1:]]),
        )


def true_iou(scene: Scene, share: NDArray[np.float32], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """k float32: the IoU of the chosen candidates with the truth, n float32 shares of leaves."""
    pool = scene.order, scene.pool_tree, scene.pool_start, scene.pool_end
    mass = (scene.area * share).astype(np.float32)
    inside = leaf_sums(chosen, mass, *pool)
    area = leaf_sums(chosen, scene.area, *pool)
    return np.asarray(inside / (area + mass.sum() - inside + 1e-6), np.float32)


def sample_candidates(
    scene: Scene, masks: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[CandidateSamples, CandidateSamples]:
    """Samples for points and for boxes from one picture's masks (k×H×W bool)."""
    frame = scene.frame
    points: list[CandidateSamples] = []
    boxes: list[CandidateSamples] = []
    for mask in masks:
        share = leaf_share(scene, mask)
        x, y, _ = deepest(mask)
        for cx, cy in ((x, y), (x, y), random_click(mask, rng)[:2]):
            ax, ay = cx * frame.zoom_x, cy * frame.zoom_y
            points.append(_part(scene, share, *point_rows(scene, ax, ay, scene.leaf_at(ax, ay)), rng))
        zoom = np.tile(np.array([frame.zoom_x, frame.zoom_y], np.float32), 2)
        box = tight_box(mask)
        given = box, jittered(box, frame.width, frame.height, 0.05, rng)
        boxes.extend(_part(scene, share, *box_rows(scene, one * zoom), rng) for one in given)
    return CandidateSamples.concat(points), CandidateSamples.concat(boxes)


def _part(
    scene: Scene,
    share: NDArray[np.float32],
    chosen: NDArray[np.int64],
    rows: NDArray[np.float32],
    rng: np.random.Generator,
) -> CandidateSamples:
    if len(chosen) > _MOST:
        keep = np.sort(rng.choice(len(chosen), _MOST, replace=False))
        chosen, rows = chosen[keep], rows[keep]
    return CandidateSamples(rows, true_iou(scene, share, chosen), np.array([0, len(rows)]))


def _fit(samples: CandidateSamples, hidden: int, epochs: int, seed: int) -> NDArray[np.float32]:
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
        # and the weighted vote should fall on candidates that are good
        odds = torch.exp(torch.sigmoid(out) * _SHARPNESS)
        chance = odds / zero.index_add(0, which, odds)[which]
        return (entropy * share).sum() - 0.5 * (chance * truth).sum() / len(names)

    return train(samples.rows, batches, loss, hidden=hidden, epochs=epochs, rate=6e-3, decay=0.1, seed=seed)


def fit_candidates(points: CandidateSamples, boxes: CandidateSamples, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Both networks: `candidate_point` and `candidate_box`."""
    return {
        "candidate_point": _fit(points, 16, 8, seed),
        "candidate_box": _fit(boxes, 16, 8, seed),
    }
