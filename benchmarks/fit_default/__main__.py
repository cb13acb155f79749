"""`python -m benchmarks.fit_default --out FOLDER [--folds 4] [--disguises 6]`: fit everything, with and without folds.

Writes FOLDER/fitted.npz, fitted on all pictures, and for cross-validation FOLDER/foldK.npz, each fitted without the
pictures of fold K, and FOLDER/folds.json, which says which picture is in which fold. To ship a fit, copy fitted.npz to
plugins/samovar_plugins/default/.
"""

from __future__ import annotations

import argparse
import json
import time
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fit_default.edges import fit_edges, sample_edges
from benchmarks.fit_default.examples import Example, data_root, disguise, load_examples
from benchmarks.fit_default.iou_heads import IouSamples, fit_iou_head, sample_iou_head
from benchmarks.fit_default.proposals import ProposalSamples, fit_proposals, sample_proposals
from benchmarks.fit_default.unaries import Asked, ask, fit_first, fit_second
from samovar_plugins.default.encoding import RegionGraph, WorkingFrame, encode_pixels, open_graph
from samovar_plugins.default.network import Weights

Nets = dict[str, NDArray[np.float32]]
_start = time.monotonic()
MASKS = 5


def _say(text: str) -> None:
    print(f"{time.monotonic() - _start:7.1f} s  {text}", flush=True)


def _some(masks: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """At most MASKS of a picture's masks: pictures of crowds must not drown the others."""
    rng = np.random.default_rng(500 + seed)
    return masks[np.sort(rng.choice(len(masks), min(len(masks), MASKS), replace=False))]


def _quiet() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _prepare(job: tuple[Example, int, Nets]) -> tuple[RegionGraph, ProposalSamples, ProposalSamples]:
    example, seed, nets = job
    shown = disguise(example, seed)
    height, width = shown.pixels.shape[:2]
    graph = open_graph(encode_pixels(shown.pixels, WorkingFrame.of(width, height), Weights(nets)), width, height)
    return (graph, *sample_proposals(graph, _some(shown.masks, seed), np.random.default_rng(seed)))


def _ask(job: tuple[Example, int, RegionGraph, Nets]) -> tuple[RegionGraph, list[Asked]]:
    example, seed, graph, nets = job
    shown = disguise(example, seed)
    return graph, ask(graph, _some(shown.masks, seed), Weights(nets), np.random.default_rng(1000 + seed))


def _fit_family(job: tuple[str, list[tuple[RegionGraph, list[Asked]]], Nets]) -> tuple[str, Nets]:
    family, asked, nets = job
    nets = dict(nets)
    nets.update(fit_first(family, asked, Weights(nets)))
    return family, {**fit_second(family, asked, Weights(nets)), f"{family}_first": nets[f"{family}_first"]}


def _iou(job: tuple[RegionGraph, list[Asked], Nets]) -> list[IouSamples]:
    graph, asked, nets = job
    return sample_iou_head(graph, asked, Weights(nets))


def fit(examples: list[Example], disguises: int, processes: int, families: list[str]) -> Nets:
    """All networks, fitted on these pictures."""
    jobs = [(example, seed) for seed in range(disguises) for example in examples]
    nets: Nets = {}
    with Pool(processes, _quiet) as pool:
        shown = [disguise(example, seed) for example, seed in jobs[: 3 * len(examples)]]
        nets.update(fit_edges(pool.map(sample_edges, shown, chunksize=4)))
        _say("edges fitted")
        prepared = pool.map(_prepare, [(*job, nets) for job in jobs], chunksize=2)
        _say("scenes prepared")
        nets.update(
            fit_proposals(
                ProposalSamples.concat([part[1] for part in prepared]),
                ProposalSamples.concat([part[2] for part in prepared]),
            )
        )
        _say("proposals fitted")
        scenes = [part[0] for part in prepared]
        del prepared
        asked = pool.map(_ask, [(*job, graph, nets) for job, graph in zip(jobs, scenes)], chunksize=2)
        _say("prompts asked")
        for name, found in pool.map(_fit_family, [(family, asked, nets) for family in families], chunksize=1):
            nets.update(found)
            _say(f"{name} fitted")
        judged = pool.map(_iou, [(graph, prompts, nets) for graph, prompts in asked], chunksize=2)
    _say("answers scored")
    for family in families:
        nets.update(fit_iou_head(family, judged))
    return nets


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_default", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--only-fold", type=int)
    parser.add_argument("--disguises", type=int, default=6)
    parser.add_argument("--limit", type=int, help="use only this many pictures, to try the pipeline")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--families", default="box,point,mask")
    given = parser.parse_args()
    _quiet()
    examples = load_examples(data_root())[: given.limit]
    given.out.mkdir(parents=True, exist_ok=True)
    fold_of = {example.name: index % given.folds for index, example in enumerate(examples)} if given.folds else {}
    (given.out / "folds.json").write_text(json.dumps({"n": given.folds, "fold": fold_of}, indent=1))
    rounds = [None, *range(given.folds)] if given.only_fold is None else [given.only_fold]
    for left_out in rounds:
        kept = [example for example in examples if left_out is None or fold_of[example.name] != left_out]
        nets = fit(kept, given.disguises, given.processes, given.families.split(","))
        name = "fitted.npz" if left_out is None else f"fold{left_out}.npz"
        rounded: dict[str, Any] = {key: net.astype(np.float16) for key, net in nets.items()}
        np.savez_compressed(given.out / name, **rounded)
        _say(f"wrote {given.out / name}")


if __name__ == "__main__":
    main()
