"""Objects that cross, hide behind each other, leave and come back: how often is one taken for another?

`python -m benchmarks.crossing` makes two clips in memory: cut-outs of annotated objects moving over real photos of the
data folder, so that every visible pixel's owner is known. *crossing*: two objects pass each other, one wholly hidden
for some frames. *re-entry*: three objects, one of which leaves the frame and comes back elsewhere. Each method's masks
are matched to the true ones by IoU ≥ 0.5; when a true object's match has another id than its last match had, that is
an id switch (as in CLEAR MOT). Printed are id switches, the share of visible objects matched, and the mean IoU.

The propagating tracker starts from the true masks of the first frame. Tracking by detection (with the `track` extra)
gets the true boxes of every frame with jitter and one box in ten missing; "each frame by itself" gets the same boxes,
numbered from left to right. Where supervision is old enough to have a ByteTrack of its own,
that one is measured too; `trackers` may be absent then.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import samovar
from samovar.errors import MissingExtraError
from samovar_adapters.video.trackers import DetectionTracker, associators
from samovar_plugins.propagate.tracker import PropagateTracker

Mask = NDArray[np.bool_]
Centre = tuple[float, float] | None
WIDTH, HEIGHT, LENGTH = 480, 320, 60


@dataclass(frozen=True)
class Clip:
    """Frames, and for each the visible mask of every object."""

    name: str
    frames: list[samovar.Image]
    truth: list[list[Mask]]


def cut_outs(folder: Path, side: int) -> Iterator[tuple[NDArray[np.uint8], Mask]]:
    """Whole objects, scaled so that their longer side is `side` pixels."""
    index = json.loads((folder / "masks" / "index.json").read_text())
    for row in index["masks"]:
        image = index["images"][row["image"]]
        x1, y1, x2, y2 = (int(edge) for edge in row["box"])
        inside = x1 > 4 and y1 > 4 and x2 < image["width"] - 4 and y2 < image["height"] - 4
        if image["subset"] != "cocotr" or not inside or min(x2 - x1, y2 - y1) < 90 or row["area"] < 9000:
            continue
        mask = samovar.Masks.from_coco_rle([row["rle"]]).to_array()[0][y1:y2, x1:x2]
        if cv2.connectedComponents(mask.astype(np.uint8))[0] > 2:
            continue
        scale = side / max(mask.shape)
        size = round(mask.shape[1] * scale), round(mask.shape[0] * scale)
        pixels = samovar.Image(folder / "masks" / image["file"]).pixels[y1:y2, x1:x2]
        small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        yield np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8), small


def grounds(folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Photos to move over."""
    for path in sorted((folder / "masks").glob("**/bsdstr__*.jpg")):
        pixels = samovar.Image(path).pixels
        if pixels.shape[1] > pixels.shape[0]:
            yield np.asarray(cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def compose(
    name: str,
    ground: NDArray[np.uint8],
    sprites: Sequence[tuple[NDArray[np.uint8], Mask]],
    where: Callable[[float], Sequence[Centre]],
) -> Clip:
    """Later sprites in front; `where` gives centres in fractions of the frame for a time in 0…1."""
    frames, truth = [], []
    for number in range(LENGTH):
        picture, owner = ground.copy(), np.full((HEIGHT, WIDTH), -1)
        for index, ((look, mask), centre) in enumerate(zip(sprites, where(number / (LENGTH - 1)))):
            if centre is None:
                continue
            rows, columns = np.nonzero(mask)
            y = rows + round(centre[1] * HEIGHT) - mask.shape[0] // 2
            x = columns + round(centre[0] * WIDTH) - mask.shape[1] // 2
            kept = (y >= 0) & (y < HEIGHT) & (x >= 0) & (x < WIDTH)
            picture[y[kept], x[kept]] = look[rows[kept], columns[kept]]
            owner[y[kept], x[kept]] = index
        frames.append(samovar.Image(picture, name=f"{name} {number}"))
        truth.append([owner == index for index in range(len(sprites))])
    return Clip(name, frames, truth)


def clips(folder: Path) -> list[Clip]:
    """The two of them."""
    small, ground = list(cut_outs(folder, 110)), list(grounds(folder))
    behind = next(cut_outs(folder, 80))
    screen = max(cut_outs(folder, 200), key=lambda cut: float(cut[1].mean()))

    def crossing(t: float) -> list[Centre]:
        return [(0.12 + 0.76 * t, 0.5), (0.88 - 0.76 * t, 0.52)]

    def re_entry(t: float) -> list[Centre]:
        leaving = (0.7 + 1.2 * t, 0.3) if t < 0.4 else (None if t < 0.6 else (1.9 - 1.2 * t, 0.75))
        return [(0.15 + 0.3 * t, 0.7), leaving, (0.3 + 0.1 * np.sin(6 * t), 0.3)]

    return [
        compose("crossing", ground[3], [behind, screen], crossing),
        compose("re-entry", ground[8], [small[2], small[4], small[7]], re_entry),
    ]


class Detector:
    """The true boxes of a clip, jittered by 3 %, each left out one time in ten, from left to right."""

    def __init__(self, clip: Clip, seed: int = 0) -> None:
        self._boxes: dict[str, NDArray[np.float32]] = {}
        random = np.random.default_rng(seed)
        for frame, masks in zip(clip.frames, clip.truth):
            boxes = samovar.Masks.from_array(np.stack(masks)).boxes[[mask.sum() > 200 for mask in masks]]
            size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            boxes = np.clip(boxes + random.normal(0, 0.03, boxes.shape) * size, 0, [WIDTH, HEIGHT] * 2)
            boxes = boxes[random.random(len(boxes)) > 0.1]
            self._boxes[frame.name] = boxes[np.argsort(boxes[:, 0])].astype(np.float32)

    def prompts(
        self, images: Sequence[samovar.Image], requests: Sequence[samovar.Prompts] | None = None
    ) -> list[samovar.Prompts]:
        """The boxes of each frame."""
        return [samovar.Prompts.from_boxes(self._boxes[image.name]) for image in images]


def propagated(sam: samovar.Runtime, clip: Clip) -> Iterator[samovar.Masks]:
    """From the first frame's true masks."""
    tracker = PropagateTracker(sam)
    masks = samovar.Masks.from_array(np.stack(clip.truth[0]))
    yield tracker.start(clip.frames[0], [samovar.Prompt(mask=mask) for mask in masks])
    for frame in clip.frames[1:]:
        yield tracker.step(frame)


def detected(sam: samovar.Runtime, clip: Clip, association: Callable[[], Any]) -> Iterator[samovar.Masks]:
    """A box an object and frame, with ids by association."""
    tracker = DetectionTracker(sam, Detector(clip), association)
    yield tracker.start(clip.frames[0])
    for frame in clip.frames[1:]:
        yield tracker.step(frame)


def association() -> dict[str, Callable[[], Any]]:
    """What gives boxes their ids, by name: whatever is installed."""
    found: dict[str, Callable[[], Any]] = {}
    try:
        found.update(associators())
    except MissingExtraError as error:
        print(f"without the package trackers: {error}")
    with suppress(ImportError, AttributeError):
        found["bytetrack of supervision"] = partial(_Supervision, import_module("supervision").ByteTrack)
    return found


class _Supervision:
    """supervision's ByteTrack with the settings that `associators` gives the others."""

    def __init__(self, kind: Any) -> None:
        self._own = kind(lost_track_buffer=30, minimum_consecutive_frames=1)

    def update(self, detections: Any) -> Any:
        """Only what is part of a track comes back."""
        return self._own.update_with_detections(detections)


def independent(sam: samovar.Runtime, clip: Clip) -> Iterator[samovar.Masks]:
    """The same boxes, numbered in each frame anew."""
    detector = Detector(clip)
    for frame in clip.frames:
        masks = sam.segment(frame, detector.prompts([frame])[0])
        yield masks.replace(ids=range(1, len(masks) + 1))


def judge(clip: Clip, answers: Iterator[samovar.Masks]) -> tuple[int, float, float]:
    """Id switches, share of visible objects matched, mean IoU of the matches."""
    last: dict[int, int | str | None] = {}
    switches, visible = 0, 0
    ious: list[float] = []
    for masks, truth in zip(answers, clip.truth, strict=True):
        wanted = [index for index, mask in enumerate(truth) if mask.sum() > 200]
        visible += len(wanted)
        if not wanted or not len(masks):
            continue
        table = samovar.Masks.from_array(np.stack([truth[index] for index in wanted])).iou(masks)
        while table.size and table.max() >= 0.5:
            row, column = np.unravel_index(int(table.argmax()), table.shape)
            ious.append(float(table[row, column]))
            table[row], table[:, column] = 0, 0
            ident = masks.ids[column]
            switches += last.get(wanted[row], ident) != ident
            last[wanted[row]] = ident
    return switches, len(ious) / max(visible, 1), float(np.mean(ious)) if ious else 0.0


def contact_sheet(clip: Clip, answers: Sequence[samovar.Masks], path: Path) -> None:
    """Eight frames with their masks, numbered."""
    from samovar_adapters.overlay import draw_overlay

    tiles = [draw_overlay(clip.frames[index], answers[index]) for index in np.linspace(0, LENGTH - 1, 8).astype(int)]
    sheet = np.vstack([np.hstack(tiles[:4]), np.hstack(tiles[4:])])
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--out", type=Path, default=Path("video-benchmark"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sam = samovar.load(given.model)
    methods: dict[str, Callable[[Clip], Iterator[samovar.Masks]]] = {
        "each frame by itself": lambda clip: independent(sam, clip),
        "propagate": lambda clip: propagated(sam, clip),
    }
    for name, make in association().items():
        methods[f"detections, {name}"] = lambda clip, make=make: detected(sam, clip, make)  # type: ignore[misc]
    print(f"{'':36} {'clip':10} {'id switches':>12} {'matched':>8} {'IoU':>6}")
    for clip in clips(Path(os.environ.get("SAMOVAR_DATA", "../shared/data"))):
        for name, method in methods.items():
            answers = list(method(clip))
            switches, matched, iou = judge(clip, iter(answers))
            print(f"{name:36} {clip.name:10} {switches:12d} {matched:8.0%} {iou:6.3f}", flush=True)
            if name == "propagate":
                contact_sheet(clip, answers, given.out / f"{clip.name}.png")


if __name__ == "__main__":
    main()
