"""Quality and speed of the embedded default segmenter on photos with known masks, beside simple rivals, in one run.

`python -m benchmarks.default_quality` prints one table: for every subset and over all, the mean IoU of box prompts and
of 1, 2 and 3 points, the oracle of three answers beside them, and the milliseconds (medians of CPU time of one
thread) of encode, of a decode, and of 64 boxes decoded at once. The filled box, the ellipse inscribed in it and
OpenCV's GrabCut are measured on the same masks; GrabCut is slow, so only on every `--grabcut-every`-th mask, where the
segmenter's own figures are printed again for comparison.

The segmenter was fitted on the COCO half of these very photos, so that half is answered by other weights: each photo by
those of `fit_default/folds` that were fitted without it (`python -m benchmarks.fit_default --folds 4` makes them). A
photo without such weights is left out, and how many were is said. All other subsets are answered by the shipped
weights, which never saw them. `--no-cross-validate` uses the shipped weights everywhere; the COCO row is then a
training score.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.grabcut import grabcut
from benchmarks.protocol import Click, Mask, Picture, data_root, deepest, iou, next_click, pictures
from samovar import Image, Prompt
from samovar.embedding import Embedding
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.default.network import load_weights
from samovar_plugins.default.segmenter import DefaultSegmenter

FOLDS = Path(__file__).parent / "fit_default" / "folds"
COLUMNS = ("box", "box oracle", "1 point", "1 oracle", "2 points", "3 points", "3 fed back")
TIMES = ("encode", "box", "point", "64 boxes")

Row = dict[str, float]
Decode = Callable[[list[Click], NDArray[np.float32] | None], Mask]


@dataclass
class Score:
    """What one picture gave: for each method, a row of IoUs a mask; and milliseconds."""

    subset: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)

    def add(self, method: str, row: Row) -> None:
        """One more mask of a method."""
        self.rows.setdefault(method, []).append(row)

    def clock(self, what: str, start: float) -> None:
        """Milliseconds of this thread since `start`."""
        self.times.setdefault(what, []).append((time.thread_time() - start) * 1000)


def prompt(clicks: list[Click], box: NDArray[np.float32] | None) -> Prompt:
    """The prompt of these clicks and this box."""
    if not clicks:
        return Prompt(box=box)
    return Prompt(points=[click[:2] for click in clicks], point_labels=[click[2] for click in clicks], box=box)


def measure(picture: Picture, segmenter: DefaultSegmenter, score: Score) -> None:
    """The segmenter's rows of one picture."""
    image = Image(picture.path)
    height, width = image.pixels.shape[:2]
    start = time.thread_time()
    embedding = segmenter.encode([image])[0]
    score.clock("encode", start)
    one, three = DecodeOptions(logits=True), DecodeOptions(multimask=True)
    for truth, box in zip(picture.masks, picture.boxes):
        row: Row = {}
        for what, asked in (("box", prompt([], box)), ("1", prompt([(*deepest(truth)[:2], 1)], None))):
            start = time.thread_time()
            masks = segmenter.decode([embedding], [Prompts.of(asked)], one)[0]
            score.clock("box" if what == "box" else "point", start)
            several = segmenter.decode([embedding], [Prompts.of(asked)], three)[0].to_array()
            row["box" if what == "box" else "1 point"] = iou(masks.to_array()[0], truth)
            row[f"{what} oracle"] = max(iou(mask, truth) for mask in several)
        row.update(clicked(embedding, segmenter, truth))
        score.add("default", row)
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (64, 2, 2)), axis=1) * [width, height]
    boxes = corners.reshape(64, 4) + np.array([-8, -8, 8, 8])
    start = time.thread_time()
    segmenter.decode([embedding], [Prompts.from_boxes(boxes)], DecodeOptions())
    score.clock("64 boxes", start)


def clicked(embedding: Embedding, segmenter: DefaultSegmenter, truth: Mask) -> Row:
    """Two and three clicks: all clicks anew each time, and with the last answer's logits handed back."""
    row: Row = {}
    for name, feed in (("", False), ("fed back", True)):
        clicks: list[Click] = [(*deepest(truth)[:2], 1)]
        logits: NDArray[np.float32] | None = None
        for count in (1, 2, 3):
            given = prompt(clicks, None)
            asked = Prompt(points=given.points, point_labels=given.point_labels, mask=logits)
            masks = segmenter.decode([embedding], [Prompts.of(asked)], DecodeOptions(logits=True))[0]
            guess = masks.to_array()[0]
            logits = masks.logits[0] if feed and masks.logits is not None else None
            row[f"{count} {name}" if feed else f"{count} points"] = iou(guess, truth)
            click = next_click(truth, guess)
            if click is not None:
                clicks.append(click)
    return row


def rivals(picture: Picture, score: Score, every: int, first: int) -> None:
    """The rivals' rows of one picture; GrabCut on every `every`-th mask, 0 for none. `first` counts masks before it."""
    pixels = Image(picture.path).pixels
    for number, (truth, box) in enumerate(zip(picture.masks, picture.boxes), first):
        x1, y1, x2, y2 = (int(v) for v in box)
        filled = np.zeros_like(truth)
        filled[y1:y2, x1:x2] = True
        score.add("filled box", {"box": iou(filled, truth)})
        ys, xs = np.ogrid[: truth.shape[0], : truth.shape[1]]
        u, v = (xs + 0.5 - (x1 + x2) / 2) / (x2 - x1) * 2, (ys + 0.5 - (y1 + y2) / 2) / (y2 - y1) * 2
        score.add("inscribed ellipse", {"box": iou(u * u + v * v <= 1, truth)})
        if every and number % every == 0:
            row: Row = {"box": iou(grabcut(pixels, [], box), truth)}
            clicks: list[Click] = [(*deepest(truth)[:2], 1)]
            for count in (1, 2, 3):
                start = time.thread_time()
                guess = grabcut(pixels, clicks, None)
                score.clock("grabcut", start)
                row["1 point" if count == 1 else f"{count} points"] = iou(guess, truth)
                click = next_click(truth, guess)
                if click is not None:
                    clicks.append(click)
            score.add("grabcut", row)
            score.add("default, same masks", score.rows["default"][number - first])


def work(job: tuple[Picture, Path | None, int, int]) -> Score:
    """Everything for one picture. `job` names the weights and GrabCut's stride, and counts the masks before."""
    picture, weights, every, first = job
    cv2.setNumThreads(1)
    score = Score(picture.subset)
    measure(picture, DefaultSegmenter(load_weights(weights)), score)
    rivals(picture, score, every, first)
    return score


def standard_error(groups: list[list[float]]) -> float:
    """Of the mean over all values, those of one photo being alike."""
    values = [value for group in groups for value in group]
    mean = np.mean(values)
    return float(np.sqrt(sum(np.sum(np.array(group) - mean) ** 2 for group in groups)) / len(values))


def print_table(scores: list[Score]) -> None:
    """The table: one line a subset and method."""
    subsets = sorted({score.subset for score in scores})
    print(f"{'subset':<10} {'method':<22} {'masks':>5} " + " ".join(f"{name:>10}" for name in COLUMNS))
    methods = ("default", "filled box", "inscribed ellipse", "grabcut", "default, same masks")
    for subset in [*subsets, "all"]:
        chosen = [score for score in scores if subset in (score.subset, "all")]
        for method in methods:
            rows = [row for score in chosen for row in score.rows.get(method, ())]
            if not rows:
                continue
            means = []
            for column in COLUMNS:
                values = [row[column] for row in rows if column in row]
                means.append(f"{np.mean(values):>10.3f}" if values else " " * 9 + "–")
            print(f"{subset:<10} {method:<22} {len(rows):>5} " + " ".join(means))
    print("\nstandard errors of the default's means: ", end="")
    print("; ".join(f"{subset} {errors_of(scores, subset)}" for subset in [*subsets, "all"]))
    print("median milliseconds, CPU time of one thread: ", end="")
    clocks = {what: [ms for score in scores for ms in score.times.get(what, ())] for what in (*TIMES, "grabcut")}
    print(", ".join(f"{what} {np.median(values):.1f}" for what, values in clocks.items() if values))


def errors_of(scores: list[Score], subset: str) -> str:
    """The standard errors of box and one click."""
    rows = [score.rows["default"] for score in scores if subset in (score.subset, "all") and "default" in score.rows]
    columns = ("box", "1 point")
    return ", ".join(f"{name} {standard_error([[row[name] for row in one] for one in rows]):.3f}" for name in columns)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="pictures of each subset (default all)")
    parser.add_argument("--quick", action="store_true", help="two pictures of each subset, to see that it runs")
    parser.add_argument("--grabcut-every", type=int, default=10, metavar="N", help="0 for none (default 10)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-cross-validate", action="store_true")
    given = parser.parse_args()
    chosen = pictures(data_root(), 2 if given.quick else given.limit)
    folds = json.loads((FOLDS / "folds.json").read_text())["fold"] if not given.no_cross_validate else {}
    jobs, before, left_out = [], 0, 0
    for picture in chosen:
        weights = FOLDS / f"fold{folds[picture.name]}.npz" if picture.name in folds else None
        if weights is not None and not weights.exists():
            left_out += 1
            continue
        jobs.append((picture, weights, given.grabcut_every, before))
        before += len(picture.masks)
    if given.processes > 1:
        with Pool(given.processes) as pool:
            scores = pool.map(work, jobs, chunksize=1)
    else:
        scores = [work(job) for job in jobs]
    print_table(scores)
    if left_out:
        print(f"{left_out} photos left out: the shipped weights were fitted on them, and no others are kept for them")


if __name__ == "__main__":
    main()
