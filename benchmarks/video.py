"""How well masks are followed through video, beside two baselines, and how fast, in one run.

`python -m benchmarks.video` follows the object of every sequence in the data folder with the propagating tracker and a
segmenter (`--model`, by default the embedded one), from the true mask of the first frame, from the box around it, and
from one click in its middle. Beside it stand the first mask left where it was, and the first mask only moved along the
optical flow. J, F and their mean are DAVIS's, over all frames but the first and the last, as its semi-supervised
protocol has it. Frames a second are of wall time: cold with the frames encoded, warm from the cache. A contact sheet a
sequence is written to `--out`: the tracked mask in colour, the true outline in white.

The sequences in `$SAMOVAR_DATA/video` are DAVIS 2016's, used for evaluation only; nothing was fitted on them, but the
tracker's few weights were chosen with them in sight.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import samovar
from benchmarks.davis import contour_accuracy, region_similarity
from samovar_plugins.propagate.tracker import PropagateTracker
from samovar_plugins.propagate.view import flow_between

Mask = NDArray[np.bool_]
ROWS = ("first mask frozen", "flow-warped only", "from mask", "from box", "from one click")


@dataclass(frozen=True)
class Clip:
    """Frames and their true masks."""

    name: str
    frames: list[samovar.Image]
    truth: list[Mask]


def sequences(folder: Path, most: int | None) -> Iterator[Clip]:
    """The sequences of a folder, at most so many frames of each."""
    for place in sorted(path for path in folder.iterdir() if (path / "frames").is_dir()):
        frames = [samovar.Image(path) for path in sorted((place / "frames").iterdir())[:most]]
        truth = [samovar.Image(path).pixels[..., 0] > 127 for path in sorted((place / "masks").iterdir())[:most]]
        yield Clip(place.name, frames, truth)


def frozen(clip: Clip) -> list[Mask]:
    """The first mask, everywhere."""
    return [clip.truth[0]] * len(clip.frames)


def warped(clip: Clip) -> list[Mask]:
    """The first mask moved along the flow, at full size, and nothing else."""
    field, masks = clip.truth[0].astype(np.float32), [clip.truth[0]]
    grey = [np.asarray(cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY), np.uint8) for frame in clip.frames]
    for before, now in pairwise(grey):
        field = flow_between(before, now).warp(field)
        masks.append(field > 0.5)
    return masks


def prompts(truth: Mask) -> dict[str, samovar.Prompt]:
    """The three ways to say what the object is."""
    mask = samovar.Masks.from_array(truth[None])
    depth = cv2.distanceTransform(np.pad(truth.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return {
        "from mask": samovar.Prompt(mask=mask),
        "from box": samovar.Prompt(box=mask.boxes[0]),
        "from one click": samovar.Prompt(points=[[column + 0.5, row + 0.5]]),
    }


def tracked(sam: samovar.Runtime, clip: Clip, prompt: samovar.Prompt) -> list[Mask]:
    """What the tracker makes of it."""
    tracker = PropagateTracker(sam)
    masks = [tracker.start(clip.frames[0], prompt)]
    masks += [tracker.step(frame) for frame in clip.frames[1:]]
    return [found.to_array()[0] for found in masks]


def scores(masks: Sequence[Mask], truth: Sequence[Mask]) -> tuple[float, float]:
    """Mean J and mean F without the first frame and the last."""
    pairs = list(zip(masks, truth))[1:-1]
    return (
        float(np.mean([region_similarity(*pair) for pair in pairs])),
        float(np.mean([contour_accuracy(*pair) for pair in pairs])),
    )


def contact_sheet(clip: Clip, masks: Sequence[Mask], path: Path, count: int = 8) -> None:
    """Eight frames, evenly: the mask tinted, the true outline white."""
    tiles = []
    for index in np.linspace(0, len(masks) - 1, count).astype(int):
        picture = clip.frames[index].pixels.copy()
        picture[masks[index]] = picture[masks[index]] // 2 + np.array([120, 40, 0], np.uint8)
        outline, _ = cv2.findContours(clip.truth[index].astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, (255, 255, 255), 2)
        tiles.append(cv2.resize(picture, (427, round(427 * picture.shape[0] / picture.shape[1]))))
    sheet = np.vstack([np.hstack(tiles[row : row + 4]) for row in range(0, count, 4)])
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--quick", action="store_true", help="ten frames a sequence")
    parser.add_argument("--out", type=Path, default=Path("video-benchmark"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ.get("SAMOVAR_DATA", "../shared/data")) / "video"
    table: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
    names: list[str] = []
    cold: list[float] = []
    warm: list[float] = []
    with tempfile.TemporaryDirectory() as cache:
        sam = samovar.load(given.model, cache=cache)
        for clip in sequences(data, 10 if given.quick else None):
            names.append(clip.name)
            table["first mask frozen"].append(scores(frozen(clip), clip.truth))
            table["flow-warped only"].append(scores(warped(clip), clip.truth))
            for row, prompt in prompts(clip.truth[0]).items():
                started = time.perf_counter()
                masks = tracked(sam, clip, prompt)
                (cold if row == "from mask" else warm).append(len(masks) / (time.perf_counter() - started))
                table[row].append(scores(masks, clip.truth))
                if row == "from mask":
                    contact_sheet(clip, masks, given.out / f"{clip.name}.png")
    print(f"{'J / F / J&F':18} " + " ".join(f"{name:>20}" for name in [*names, "mean"]))
    for row, pairs in table.items():
        pairs = [*pairs, (float(np.mean([j for j, _ in pairs])), float(np.mean([f for _, f in pairs])))]
        print(f"{row:18} " + " ".join(f"{f'{j:.3f} {f:.3f} {(j + f) / 2:.3f}':>20}" for j, f in pairs))
    print(f"frames/s: {np.mean(cold):.2f} cold, {np.mean(warm):.2f} with the frames' embeddings in the cache")
    print(f"contact sheets in {given.out}")


if __name__ == "__main__":
    main()
