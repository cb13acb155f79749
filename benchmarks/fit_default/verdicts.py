"""Fits the classifiers of leaves: for points, boxes and masks, a first and one that sees its verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fit_default.candidates import true_iou
from benchmarks.fit_default.training import train
from benchmarks.fit_default.truth import (
    Click,
    deepest,
    jittered,
    leaf_share,
    next_click,
    random_click,
    tight_box,
)
from samovar import Masks
from samovar_plugins.default.decoding import classify, first_verdict, tidy
from samovar_plugins.default.encoding import Query, Scene, make_query
from samovar_plugins.default.features import Evidence, find_ways, first_evidence, second_evidence
from samovar_plugins.default.network import Weights
from samovar_plugins.default.prompt_fit import find_candidates
from samovar_plugins.default.proposals import votes
from samovar_plugins.default.segmenter import cut_mask, make_field

__all__ = ["Asked", "ask", "evidence_of", "fit_first", "fit_second"]


@dataclass(frozen=True)
class Asked:
    """One prompt of a training picture.

    Attributes:
        query: the prompt.
        share: n float32, the truth: how much of each leaf the object covers.
        family: "point", "box" or "mask".
        weight: how much it counts.
    """

    query: Query
    share: NDArray[np.float32]
    family: str
    weight: float


def _query(
    scene: Scene, clicks: list[Click], box: NDArray[np.float32] | None, prior: NDArray[np.float32] | None
) -> Query:
    points = np.array([click[:2] for click in clicks], np.float32).reshape(-1, 2)
    labels = np.array([click[2] for click in clicks], np.int8)
    return make_query(scene, points, labels, box, prior)


def _guess(scene: Scene, query: Query, weights: Weights) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The image-sized mask that the present weights answer, and the leaf probabilities behind it."""
    chance, _ = classify(scene, query, find_ways(scene, query), weights)
    chosen = chance > 0.5
    if not chosen.any():
        chosen = chance >= 0.8 * chance.max()
    chosen = tidy(scene, query, chosen)
    counts = cut_mask(scene, make_field(scene, chance, chosen), 0.5, None)
    out = Masks.from_runs(counts, [0, len(counts)], scene.frame.width, scene.frame.height).to_array()[0]
    agreed = np.where(chosen, np.maximum(chance, 0.55), np.minimum(chance, 0.45))
    return out, agreed.astype(np.float32)


def _suppositions(
    scene: Scene,
    share: NDArray[np.float32],
    middle: list[Click],
    stray: list[Click],
    weights: Weights,
    rng: np.random.Generator,
) -> list[tuple[NDArray[np.float32], list[Click]]]:
    """Candidates that are roughly the object, drawn as masks: what `answers` refines as hypotheses."""
    out = []
    for clicks in (middle, stray):
        found = find_candidates(scene, _query(scene, clicks, None, None), weights)
        iou = true_iou(scene, share, found.index)
        good = np.flatnonzero(iou > 0.45)
        if len(good):
            pick = int(rng.choice(good, p=found.weight[good] / found.weight[good].sum()))
            members = votes(
                found.index[[pick]],
                np.ones((1, 1), np.float32),
                scene.order,
                scene.pool_tree,
                scene.pool_start,
                scene.pool_end,
            )
            out.append((members[0], clicks))
    return out


def ask(scene: Scene, masks: NDArray[np.bool_], weights: Weights, rng: np.random.Generator) -> list[Asked]:
    """Prompts for each mask (k×H×W bool): boxes, first clicks, corrections of the present weights' answers, masks."""
    out: list[Asked] = []
    frame = scene.frame
    for mask in masks:
        share = leaf_share(scene, mask)
        x, y, _ = deepest(mask)
        middle: Click = (x, y, 1)
        stray = random_click(mask, rng)
        box = tight_box(mask)
        loose = jittered(box, frame.width, frame.height, 0.06, rng)
        out.append(Asked(_query(scene, [], box, None), share, "box", 1.0))
        out.append(Asked(_query(scene, [], loose, None), share, "box", 0.5))
        for clicks, steps in (([middle], 3), ([stray], int(rng.integers(1, 4)))):
            prior, weight = None, 1.0 if clicks == [middle] else 0.5
            for step in range(steps):
                query = _query(scene, clicks, None, None)
                out.append(Asked(query, share, "point", weight))
                if prior is not None:
                    out.append(Asked(_query(scene, clicks, None, prior), share, "mask", weight))
                guess, prior = _guess(scene, query, weights)
                click = next_click(mask, guess)
                if click is None or step == steps - 1:
                    break
                clicks = [*clicks, click]
        query = _query(scene, [], loose, None)
        guess, prior = _guess(scene, query, weights)
        click = next_click(mask, guess)
        if click is not None:
            out.append(Asked(_query(scene, [click], loose, None), share, "box", 0.5))
            out.append(Asked(_query(scene, [click], None, prior), share, "mask", 0.5))
            out.append(Asked(_query(scene, [click], loose, prior), share, "mask", 0.5))
        for guess_prior, clicks in _suppositions(scene, share, [middle], [stray], weights, rng):
            out.append(Asked(_query(scene, clicks, None, guess_prior), share, "mask", 0.7))
        rough = np.clip(share + rng.normal(0, 0.25, len(share)), 0, 1).astype(np.float32)
        out.append(Asked(_query(scene, [], None, rough), share, "mask", 0.5))
    return out


def _fit(
    rows: NDArray[np.float16],
    area: NDArray[np.float32],
    share: NDArray[np.float32],
    offsets: NDArray[np.int64],
    missed: NDArray[np.float32],
    weight: NDArray[np.float32],
    epochs: int,
    hidden: int,
    seed: int,
) -> NDArray[np.float32]:
    count = len(offsets) - 1
    group = np.repeat(np.arange(count), np.diff(offsets))
    areas, truth = torch.tensor(area), torch.tensor(share)

    def batches(rng: np.random.Generator) -> list[NDArray[np.int64]]:
        order = rng.permutation(count)
        return [
            np.concatenate([np.arange(offsets[g], offsets[g + 1]) for g in part])
            for part in np.array_split(order, max(count // 24, 1))
        ]

    def loss(out: torch.Tensor, batch: NDArray[np.int64]) -> torch.Tensor:
        names, inverse = np.unique(group[batch], return_inverse=True)
        which = torch.tensor(inverse)
        zero = torch.zeros(len(names))
        a, t = areas[batch], truth[batch]
        p = torch.sigmoid(out)
        inside = zero.index_add(0, which, a * p * t)
        mine = zero.index_add(0, which, a * t) + torch.tensor(missed[names])
        union = zero.index_add(0, which, a * p) + mine - inside
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(out, t, reduction="none")
        wrong = torch.clamp(zero.index_add(0, which, entropy * a / (mine[which] + 1e-6)), max=6)
        w = torch.tensor(weight[names])
        return ((1 - inside / (union + 1e-6) + 0.15 * wrong) * w).sum() / w.sum()

    return train(rows, batches, loss, hidden=hidden, epochs=epochs, rate=4e-3, decay=0.02, seed=seed)


def evidence_of(scene: Scene, asked: Asked, weights: Weights) -> Evidence:
    """The first evidence of one prompt."""
    query = asked.query
    return first_evidence(scene, query, find_ways(scene, query), find_candidates(scene, query, weights))


@dataclass(frozen=True)
class _Kept:
    """All prompts of one family with their first evidence, and what every fit over their leaves needs."""

    prompts: list[tuple[Scene, Asked, Evidence]]

    @classmethod
    def of(cls, family: str, parts: list[tuple[Scene, list[Asked]]], weights: Weights) -> _Kept:
        return cls(
            [
                (scene, one, evidence_of(scene, one, weights))
                for scene, asked in parts
                for one in asked
                if one.family == family
            ]
        )

    def fit(self, rows: NDArray[np.float16], epochs: int, hidden: int, seed: int) -> NDArray[np.float32]:
        area = np.concatenate([scene.area[evidence.active] for scene, _, evidence in self.prompts])
        share = np.concatenate([one.share[evidence.active] for _, one, evidence in self.prompts])
        offsets = np.cumsum([0, *(len(evidence.active) for _, _, evidence in self.prompts)])
        whole = [float(scene.area @ one.share) for scene, one, _ in self.prompts]
        seen = np.add.reduceat(area * share, offsets[:-1])
        missed = (np.array(whole) - seen).astype(np.float32)
        weight = np.array([one.weight for _, one, _ in self.prompts], np.float32)
        return _fit(rows, area, share, offsets, missed, weight, epochs, hidden, seed)


def fit_first(
    family: str,
    parts: list[tuple[Scene, list[Asked]]],
    weights: Weights,
    *,
    epochs: int = 8,
    hidden: int = 32,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """The first classifier of one family, from pictures and what was asked of them."""
    kept = _Kept.of(family, parts, weights)
    rows = np.concatenate([evidence.rows.astype(np.float16) for _, _, evidence in kept.prompts])
    return {f"{family}_first": kept.fit(rows, epochs, hidden, seed)}


def fit_second(
    family: str,
    parts: list[tuple[Scene, list[Asked]]],
    weights: Weights,
    *,
    epochs: int = 8,
    hidden: int = 32,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """The second classifier of one family, on top of its first."""
    kept = _Kept.of(family, parts, weights)
    rows = []
    for scene, one, evidence in kept.prompts:
        chance = first_verdict(scene, one.query, evidence, weights)
        rows.append(second_evidence(scene, evidence, chance).astype(np.float16))
    return {f"{family}_second": kept.fit(np.concatenate(rows), epochs, hidden, seed)}
