"""Fits the classifiers of superpixels: for points, boxes and masks, a first and one that sees its unaries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fit_default.proposals import true_iou
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
from samovar_plugins.default.decoding import classify, first_unary, tidy
from samovar_plugins.default.encoding import Query, RegionGraph, make_query
from samovar_plugins.default.features import Features, find_geometry, first_features, second_features
from samovar_plugins.default.network import Weights
from samovar_plugins.default.prompt_fit import score_proposals
from samovar_plugins.default.proposals import votes
from samovar_plugins.default.segmenter import make_field, mask_runs

__all__ = ["Asked", "ask", "evidence_of", "fit_first", "fit_second"]


@dataclass(frozen=True)
class Asked:
    """One prompt of a training picture.

    Attributes:
        query: the prompt.
        share: n float32, the truth: how much of each superpixel the object covers.
        family: "point", "box" or "mask".
        weight: how much it counts.
    """

    query: Query
    share: NDArray[np.float32]
    family: str
    weight: float


def _query(
    graph: RegionGraph, clicks: list[Click], box: NDArray[np.float32] | None, prior: NDArray[np.float32] | None
) -> Query:
    points = np.array([click[:2] for click in clicks], np.float32).reshape(-1, 2)
    labels = np.array([click[2] for click in clicks], np.int8)
    return make_query(graph, points, labels, box, prior)


def _guess(graph: RegionGraph, query: Query, weights: Weights) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The image-sized mask that the present weights answer, and the superpixel probabilities behind it."""
    unary, _ = classify(graph, query, find_geometry(graph, query), weights)
    chosen = unary > 0.5
    if not chosen.any():
        chosen = unary >= 0.8 * unary.max()
    chosen = tidy(graph, query, chosen)
    counts = mask_runs(graph, make_field(graph, unary, chosen), 0.5, None)
    out = Masks.from_runs(counts, [0, len(counts)], graph.frame.width, graph.frame.height).to_array()[0]
    agreed = np.where(chosen, np.maximum(unary, 0.55), np.minimum(unary, 0.45))
    return out, agreed.astype(np.float32)


def _suppositions(
    graph: RegionGraph,
    share: NDArray[np.float32],
    middle: list[Click],
    stray: list[Click],
    weights: Weights,
    rng: np.random.Generator,
) -> list[tuple[NDArray[np.float32], list[Click]]]:
    """Proposals that are roughly the object, drawn as masks: what `answers` refines as hypotheses."""
    out = []
    for clicks in (middle, stray):
        found = score_proposals(graph, _query(graph, clicks, None, None), weights)
        iou = true_iou(graph, share, found.index)
        good = np.flatnonzero(iou > 0.45)
        if len(good):
            pick = int(rng.choice(good, p=found.weight[good] / found.weight[good].sum()))
            members = votes(
                found.index[[pick]],
                np.ones((1, 1), np.float32),
                *graph.pool,
            )
            out.append((members[0], clicks))
    return out


def ask(graph: RegionGraph, masks: NDArray[np.bool_], weights: Weights, rng: np.random.Generator) -> list[Asked]:
    """Prompts for each mask (k×H×W bool): boxes, first clicks, corrections of the present weights' answers, masks."""
    out: list[Asked] = []
    frame = graph.frame
    for mask in masks:
        share = leaf_share(graph, mask)
        x, y, _ = deepest(mask)
        middle: Click = (x, y, 1)
        stray = random_click(mask, rng)
        box = tight_box(mask)
        loose = jittered(box, frame.width, frame.height, 0.06, rng)
        out.append(Asked(_query(graph, [], box, None), share, "box", 1.0))
        out.append(Asked(_query(graph, [], loose, None), share, "box", 0.5))
        for clicks, steps in (([middle], 3), ([stray], int(rng.integers(1, 4)))):
            prior, weight = None, 1.0 if clicks == [middle] else 0.5
            for step in range(steps):
                query = _query(graph, clicks, None, None)
                out.append(Asked(query, share, "point", weight))
                if prior is not None:
                    out.append(Asked(_query(graph, clicks, None, prior), share, "mask", weight))
                guess, prior = _guess(graph, query, weights)
                click = next_click(mask, guess)
                if click is None or step == steps - 1:
                    break
                clicks = [*clicks, click]
        query = _query(graph, [], loose, None)
        guess, prior = _guess(graph, query, weights)
        click = next_click(mask, guess)
        if click is not None:
            out.append(Asked(_query(graph, [click], loose, None), share, "box", 0.5))
            out.append(Asked(_query(graph, [click], None, prior), share, "mask", 0.5))
            out.append(Asked(_query(graph, [click], loose, prior), share, "mask", 0.5))
        for guess_prior, clicks in _suppositions(graph, share, [middle], [stray], weights, rng):
            out.append(Asked(_query(graph, clicks, None, guess_prior), share, "mask", 0.7))
        rough = np.clip(share + rng.normal(0, 0.25, len(share)), 0, 1).astype(np.float32)
        out.append(Asked(_query(graph, [], None, rough), share, "mask", 0.5))
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


def evidence_of(graph: RegionGraph, asked: Asked, weights: Weights) -> Features:
    """The first features of one prompt."""
    query = asked.query
    return first_features(graph, query, find_geometry(graph, query), score_proposals(graph, query, weights))


@dataclass(frozen=True)
class _Kept:
    """All prompts of one family with their first features, and what every fit over their superpixels needs."""

    prompts: list[tuple[RegionGraph, Asked, Features]]

    @classmethod
    def of(cls, family: str, parts: list[tuple[RegionGraph, list[Asked]]], weights: Weights) -> _Kept:
        return cls(
            [
                (graph, one, evidence_of(graph, one, weights))
                for graph, asked in parts
                for one in asked
                if one.family == family
            ]
        )

    def fit(self, rows: NDArray[np.float16], epochs: int, hidden: int, seed: int) -> NDArray[np.float32]:
        area = np.concatenate([graph.area[features.active] for graph, _, features in self.prompts])
        share = np.concatenate([one.share[features.active] for _, one, features in self.prompts])
        offsets = np.cumsum([0, *(len(features.active) for _, _, features in self.prompts)])
        whole = [float(graph.area @ one.share) for graph, one, _ in self.prompts]
        seen = np.add.reduceat(area * share, offsets[:-1])
        missed = (np.array(whole) - seen).astype(np.float32)
        weight = np.array([one.weight for _, one, _ in self.prompts], np.float32)
        return _fit(rows, area, share, offsets, missed, weight, epochs, hidden, seed)


def fit_first(
    family: str,
    parts: list[tuple[RegionGraph, list[Asked]]],
    weights: Weights,
    *,
    epochs: int = 8,
    hidden: int = 32,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """The first classifier of one family, from pictures and what was asked of them."""
    kept = _Kept.of(family, parts, weights)
    rows = np.concatenate([features.rows.astype(np.float16) for _, _, features in kept.prompts])
    return {f"{family}_first": kept.fit(rows, epochs, hidden, seed)}


def fit_second(
    family: str,
    parts: list[tuple[RegionGraph, list[Asked]]],
    weights: Weights,
    *,
    epochs: int = 8,
    hidden: int = 32,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """The second classifier of one family, on top of its first."""
    kept = _Kept.of(family, parts, weights)
    rows = []
    for graph, one, features in kept.prompts:
        unary = first_unary(graph, one.query, features, weights)
        rows.append(second_features(graph, features, unary).astype(np.float16))
    return {f"{family}_second": kept.fit(np.concatenate(rows), epochs, hidden, seed)}
