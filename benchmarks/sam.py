"""The SAM family's decoder and encoder against `segment-anything` and `transformers`: same weights, images and prompts.

Weights are random with seeded structure (see tests/plugins/sam/structured.py): times depend on sizes only. Repeats are
interleaved; every row gives medians and, beside them, how far the answers are apart. One thread of a CPU is timed by
the time that it had, anything else by the clock. The reference computes in float32 whatever `--dtype` says. Rows
against "the floor" say how far the networks are from their multiplications alone, at a rate measured in the same run.

Needs `segment-anything` and its torch and torchvision (`nox -s bench_sam`); rows against `transformers` appear where
that is installed.

    python -m benchmarks.sam [--device cuda] [--dtype bfloat16] [--encoder vit_h] [--threads N] [--repeats N]
                             [--rows NAME,…] [--quick]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._sam_floor import encoder_flops, logits_flops, product_rate
from benchmarks._sam_sides import ENCODERS, SIZES, Embedded, Sides, boxes, encoded
from samovar import Prompts

ROWS = ("logits", "transformers", "rle-1.5", "rle-12", "click", "automatic", "encoder", "memory")


@dataclass
class Contest:
    """One row: what was compared, the median seconds of each side, and how far apart the answers were."""

    work: str
    against: str
    theirs: float
    ours: float
    agreement: str

    def __str__(self) -> str:
        ratio = f"{self.theirs / self.ours:.1f}×"
        return (
            f"| {self.work} | {self.against} | {self.theirs:.3f} s | {self.ours:.3f} s | {ratio} | {self.agreement} |"
        )


def interleaved(
    repeats: int, *sides: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> tuple[list[float], list[Any]]:
    """Median seconds of each side, and what it answered last; all sides take turns, after one turn unmeasured."""
    times: list[list[float]] = [[] for _ in sides]
    answers: list[Any] = [side() for side in sides] if repeats > 1 else [None] * len(sides)
    for _ in range(repeats):
        for index, side in enumerate(sides):
            start = clock()
            answers[index] = side()
            times[index].append(clock() - start)
    return [statistics.median(every) for every in times], answers


class Bench(Sides):
    """The rows of the table."""

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds: of its own time for one thread of a CPU, so that other processes do not count; else of a clock."""
        alone = self.options.device == "cpu" and self.options.threads == 1
        return time.process_time if alone else time.perf_counter

    def race(self, repeats: int, *sides: Callable[[], Any]) -> tuple[list[float], list[Any]]:
        """See `interleaved`."""
        return interleaved(repeats, *map(self.synchronised, sides), clock=self.clock)

    def distance(self, work: str, flops: float, ours: float) -> Contest:
        """From what the multiplications alone would take, at the rate of the model's dtype on this device."""

        def timed(call: Callable[[], Any]) -> float:
            return interleaved(1, self.synchronised(call), clock=self.clock)[0][0]

        rate = product_rate(self.torch, self.options.device, self.dtype, timed)
        against = f"the floor: {flops / 1e9:,.0f} GFLOP at {rate / 1e9:,.0f} GFLOP/s"
        return Contest(work, against, flops / rate, ours, "")

    def logits(self) -> list[Contest]:
        """64 boxes to low-resolution logits: the reference all at once, and in its best chunks."""
        count = 8 if self.options.quick else 64
        embedding = self.look_at("1.5")
        given = boxes(count, *SIZES["1.5"])
        chunks = (1, 2, 4, 8)
        trials = self.race(2, *(partial(self.reference_logits, given[:8], chunk) for chunk in chunks))[0]
        best = chunks[int(np.argmin(trials))]
        sides = [
            lambda: self.reference_logits(given, count),
            lambda: self.reference_logits(given, best),
            lambda: self.our_logits(embedding, given),
        ]
        times, (theirs, _, mine) = self.race(self.options.repeats, *sides)
        apart = f"logits ≤ {float((theirs - mine).abs().max()):.1e}"
        work = f"{count} boxes → logits"
        folded = self.options.device == "cpu" and self.dtype == self.torch.float32
        return [
            Contest(work, "segment-anything, batched", times[0], times[2], apart),
            Contest(work, f"segment-anything, {best} at a time (its best)", times[1], times[2], apart),
            self.distance(work, logits_flops(self.torch, self.weights, count, folded=folded), times[2]),
        ]

    def transformers(self) -> list[Contest]:
        """64 boxes to logits by Hugging Face's SamModel with the same weights."""
        if find_spec("transformers") is None:
            return []
        from transformers import SamConfig, SamModel

        from samovar_plugins.toolkit import convert_name

        model = SamModel(SamConfig()).eval()
        model.load_state_dict({name: self.weights[convert_name(name)] for name in model.state_dict()})
        model = model.to(self.options.device)
        count = 8 if self.options.quick else 64
        embedding = self.look_at("1.5")
        given = boxes(count, *SIZES["1.5"])
        framed = self.predictor.transform.apply_boxes(given, self.predictor.original_size)
        scaled = self.torch.as_tensor(framed, dtype=self.torch.float)[None].to(self.options.device)

        def theirs() -> Any:
            features = self.predictor.features
            return model(image_embeddings=features, input_boxes=scaled, multimask_output=False).pred_masks[0]

        sides = [theirs, lambda: self.our_logits(embedding, given)]
        times, (other, mine) = self.race(self.options.repeats, *sides)
        apart = f"logits ≤ {float((other - mine).abs().max()):.1e}"
        return [Contest(f"{count} boxes → logits", "transformers", times[0], times[1], apart)]

    def rle(self, size: str) -> list[Contest]:
        """64 boxes to compressed COCO RLE."""
        count = 8 if self.options.quick else 64
        embedding = self.look_at(size)
        given = boxes(count, *SIZES[size])
        sides = [
            lambda: self.reference_rle(given, 8),
            lambda: [rle["counts"] for rle in self.decode(embedding, Prompts.from_boxes(given)).to_coco_rle()],
        ]
        times, (theirs, mine) = self.race(self.options.repeats, *sides)
        alone = [rle.decode() for rle in self.reference_rle(given, 1)]
        apart = f"{same(theirs, mine)} ({same(theirs, alone)} with its own, one box at a time)"
        work = f"{count} boxes → COCO RLE, {size} MP"
        return [Contest(work, "predict_torch, 8 at a time, + pycocotools", times[0], times[1], apart)]

    def click(self) -> list[Contest]:
        """One click on an embedded image to three masks as RLE."""
        embedding = self.look_at("1.5")
        point = np.array([[700.0, 420.0]], np.float32)

        def theirs() -> list[bytes]:
            masks, ious, _ = self.predictor.predict(point, np.ones(1), multimask_output=True)
            return [encoded(masks[index]) for index in np.argsort(-ious)]

        def mine() -> list[str]:
            masks = self.decode(embedding, Prompts.from_points(point), multimask=True)
            return [rle["counts"] for rle in masks.to_coco_rle()]

        repeats = 3 * self.options.repeats
        times, answers = self.race(repeats, theirs, mine)
        return [
            Contest("1 click → 3 masks as RLE, 1.5 MP", "predict + pycocotools", times[0], times[1], same(*answers))
        ]

    def automatic(self) -> list[Contest]:
        """Automatic masks with the encoder left out: both are given the embedding."""
        from segment_anything import SamAutomaticMaskGenerator

        from samovar import Runtime
        from samovar.cache import Cache

        side = 4 if self.options.quick else 32
        parameters: dict[str, Any] = {"points_per_side": side, "stability_score_offset": 0.05}
        parameters |= {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.3}
        generator = SamAutomaticMaskGenerator(self.reference, output_mode="coco_rle", **parameters)
        self.look_at("1.5")
        generator.predictor.features = self.predictor.features
        generator.predictor.original_size = self.predictor.original_size
        generator.predictor.input_size = self.predictor.input_size
        generator.predictor.is_image_set = True
        generator.predictor.set_image = lambda image: None
        generator.predictor.reset_image = lambda: None
        runtime = Runtime(self.ours, cache=Cache.open("off"))
        runtime.segmenter = Embedded(self.ours, self.embedding)
        pixels = np.array(self.photo.pixels)
        sides = [
            lambda: [found["segmentation"]["counts"] for found in generator.generate(pixels)],
            lambda: [rle["counts"] for rle in runtime.segment_all(self.photo, **parameters).to_coco_rle()],
        ]
        times, (theirs, mine) = self.race(
            1 if side == 32 and self.options.device == "cpu" else self.options.repeats, *sides
        )
        apart = f"{len(set(theirs) & set(mine))} of {len(theirs)} the same, {len(mine)} by us"
        return [
            Contest(
                f"automatic masks, {side}×{side} points, 1.5 MP", "SamAutomaticMaskGenerator", times[0], times[1], apart
            )
        ]

    def encoder(self) -> list[Contest]:
        """One image."""
        frame = self.ours.components.resize.pixels(self.photo)[None].to(self.options.device)

        def mine() -> Any:
            with self.torch.inference_mode():
                return self.ours._encoder(frame.to(self.dtype))["image"].float()

        sides = [lambda: self.reference.image_encoder(frame), mine]
        times, (theirs, ours) = self.race(self.options.repeats, *sides)
        apart = f"embedding ≤ {float((theirs - ours).abs().max()):.1e}"
        work = f"encode, {self.options.encoder}"
        return [
            Contest(work, "eager torch", times[0], times[1], apart),
            self.distance(work, encoder_flops(self.torch, self.weights), times[1]),
        ]

    def memory(self) -> list[Contest]:
        """Peak memory of 1,024 boxes at 12 MP over that of the loaded model: the device's, and the host's."""
        count = 64 if self.options.quick else 1024
        embedding, cuda = self.look_at("12"), self.torch.cuda
        on_gpu = self.options.device.startswith("cuda")
        self.decode(embedding, Prompts.from_boxes(boxes(4, *SIZES["12"])))
        before = _memory("VmRSS", reset=True)
        if on_gpu:
            cuda.reset_peak_memory_stats()
            held = cuda.memory_allocated()
        masks = self.decode(embedding, Prompts.from_boxes(boxes(count, *SIZES["12"])))
        grown = f"{(_memory('VmHWM') - before) / 1024:.0f} MiB"
        if on_gpu:
            grown += f" and {(cuda.max_memory_allocated() - held) / 2**20:.0f} MiB of the GPU's"
        needed = count * SIZES["12"][0] * SIZES["12"][1] * 4 / 2**30
        print(
            f"| {count:,} boxes → COCO RLE, 12 MP: peak memory over the model | enlarging all at once (computed) | "
            f"{needed:.0f} GiB | {grown} | | {len(masks):,} masks, {masks.nbytes / 2**20:.0f} MiB |"
        )
        return []


def _memory(field: str, *, reset: bool = False) -> int:
    """KiB of this process's resident memory: now ("VmRSS") or at most since the last reset ("VmHWM")."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def same(theirs: Sequence[bytes], mine: Sequence[str]) -> str:
    """How many of the masks are byte for byte the same."""
    equal = sum(one.decode() == other for one, other in zip(theirs, mine))
    return f"{equal} of {len(theirs)} RLE identical"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--encoder", choices=ENCODERS, default="vit_b")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if find_spec("segment_anything") is None:
        print("benchmarks.sam: segment-anything is not installed; `nox -s bench_sam` runs this with it")
        return
    if options.quick:
        options.repeats = min(options.repeats, 2)
    rows = options.rows.split(",")
    if "memory" in rows and len(rows) > 1:  # in a process of its own: what other rows freed need not be returned
        rows.remove("memory")
        alone = [sys.executable, "-m", "benchmarks.sam", *sys.argv[1:], "--rows", "memory"]
        line = subprocess.run(alone, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    else:
        line = ""
    bench = Bench(options)
    print(f"{bench.where}, {options.dtype}, torch {bench.torch.__version__}\n")
    print("| work | against | theirs | ours | ratio | agreement |\n|---|---|---|---|---|---|", flush=True)
    for row in rows:
        if row.startswith("rle-"):
            contests = bench.rle(row.removeprefix("rle-"))
        else:
            contests = getattr(bench, row)()
        for contest in contests:
            print(contest, flush=True)
    if line:
        print(line)


if __name__ == "__main__":
    main()
