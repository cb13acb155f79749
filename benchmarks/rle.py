"""Run-length encoding beside pycocotools: the same work on the same masks, interleaved, one table of ratios.

`python -m benchmarks.rle` prints, for several image sizes and kinds of masks, both sides' median CPU time of one
thread and how many times faster Samovar is (above 1: faster). Both sides end in equal results, which is checked first:

- `encode`: N×H×W bool in C order → COCO RLE text. pycocotools wants Fortran order, so its time includes converting.
- `encode F`: the same from an array that is in Fortran order already, pycocotools' own layout.
- `decode`: COCO RLE text → N×H×W.
- `areas + boxes`, `IoU`, `union`: from RLE that either side already holds in its own form.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from samovar.masks import Masks

Stack = NDArray[np.bool_]
Pair = tuple[str, Callable[[], Any], Callable[[], Any]]
SIZES = ((64, 64, 1), (64, 64, 64), (480, 640, 1), (480, 640, 16), (3000, 4000, 2))
QUICK = ((64, 64, 8), (480, 640, 2))


def main() -> None:
    """Print the table, then what a thousand masks of 12 megapixels cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small images and few repeats, to see that it runs")
    parser.add_argument("--repeats", type=int, default=9, help="interleaved repeats of each (default 9)")
    options = parser.parse_args()
    repeats = 3 if options.quick else options.repeats
    print(f"{'image':>11} {'masks':>9} {'N':>3}  {'work':<14} {'pycocotools':>12} {'samovar':>10} {'ratio':>7}")
    slower = 0
    for height, width, count in QUICK if options.quick else SIZES:
        for shape, stack in shapes(count, height, width):
            for work, theirs, ours in pairs(stack):
                their_ms, our_ms = interleaved(theirs, ours, repeats)
                slower += our_ms > their_ms
                line = f"{width}×{height}".rjust(11) + f" {shape:>9} {count:>3}  {work:<14}"
                print(f"{line} {their_ms:>9.3f} ms {our_ms:>7.3f} ms {their_ms / our_ms:>6.1f}×")
    print(f"\nslower than pycocotools in {slower} rows")
    thousand(100 if options.quick else 1000)


def shapes(count: int, height: int, width: int) -> Iterator[tuple[str, Stack]]:
    """Stacks of `count` masks, from the kindest to the worst for run lengths."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    discs, ragged = np.zeros((2, count, height, width), np.bool_)
    for index in range(count):
        x, y = rng.uniform(0.3, 0.7, 2) * (width, height)
        radius = rng.uniform(0.1, 0.4) * min(width, height)
        distance = np.hypot(xx - x, yy - y)
        discs[index] = distance < radius
        # An outline as a network gives it on textured things: waves of several lengths, and specks around it.
        angle = np.arctan2(yy - y, xx - x)
        waves = 1 + 0.15 * np.sin(7 * angle) + 0.05 * np.sin(41 * angle)
        ragged[index] = (distance < radius * waves) ^ (rng.random((height, width)) < 0.002)
    yield "discs", discs
    yield "ragged", ragged
    yield "full", np.ones((count, height, width), np.bool_)
    yield "noise", rng.random((count, height, width)) < 0.5


def pairs(stack: Stack) -> Iterator[Pair]:
    """What both sides do with one stack: the work's name, pycocotools' way and Samovar's."""
    fortran = np.asfortranarray(stack.transpose(1, 2, 0).view(np.uint8))
    as_masks = fortran.transpose(2, 0, 1).view(np.bool_)
    theirs, ours = coco.encode(fortran), Masks.from_array(stack)
    texts = ours.to_coco_rle()
    if [rle["counts"].decode() for rle in theirs] != [rle["counts"] for rle in texts]:
        raise SystemExit("the two encodings differ; the times below would mean nothing")
    n = len(stack)
    yield (
        "encode",
        lambda: coco.encode(np.asfortranarray(stack.transpose(1, 2, 0).view(np.uint8))),
        lambda: Masks.from_array(stack).to_coco_rle(),
    )
    yield "encode F", lambda: coco.encode(fortran), lambda: Masks.from_array(as_masks).to_coco_rle()
    yield "decode", lambda: coco.decode(theirs), lambda: Masks.from_coco_rle(texts).to_array()
    yield (
        "areas + boxes",
        lambda: (coco.area(theirs), coco.toBbox(theirs)),
        lambda: [(masks.areas, masks.boxes) for masks in [Masks(ours.runs, ours.columns)]],
    )
    yield "IoU", lambda: coco.iou(theirs, theirs, [0] * n), lambda: Masks(ours.runs, ours.columns).iou(ours)
    yield "union", lambda: coco.merge(theirs), lambda: ours.union().to_coco_rle()


def interleaved(theirs: Callable[[], Any], ours: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median milliseconds of thread CPU time of both, measured in turns after one warm-up of each."""
    theirs()
    ours()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for kept, call in zip(times, (theirs, ours)):
            start = time.thread_time()
            call()
            kept.append(1e3 * (time.thread_time() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def thousand(count: int, width: int = 4000, height: int = 3000) -> None:
    """What `count` ragged masks of a 12-megapixel image cost in memory and time, given inside their boxes."""
    rng = np.random.default_rng(1)
    crops, origins = [], []
    for _ in range(count):
        side = int(rng.integers(100, 1200))
        yy, xx = np.mgrid[:side, :side].astype(np.float32) - side / 2
        angle, distance = np.arctan2(yy, xx), np.hypot(yy, xx)
        crops.append(np.packbits(distance < side / 2.6 * (1 + 0.15 * np.sin(7 * angle) + 0.05 * np.sin(41 * angle))))
        origins.append((int(rng.integers(0, width - side)), int(rng.integers(0, height - side)), side))
    parts, encode = [], 0.0
    for packed, (x, y, side) in zip(crops, origins):
        crop = np.unpackbits(packed, count=side * side).reshape(side, side).view(np.bool_)
        start = time.thread_time()
        parts.append(Masks.from_crops([crop], [(x, y)], width, height))
        encode += time.thread_time() - start
    masks = Masks.concat(parts)
    print(f"\n{count} masks of a {width}×{height} image: {masks.nbytes / 1e6:.1f} MB (dense: {count * 12} MB)")
    print(f"  from_crops            {1e3 * encode:8.1f} ms")
    works: list[tuple[str, Callable[[], Any]]] = [
        ("to_coco_rle", masks.to_coco_rle),
        ("to_coco_rle, as lists", lambda: masks.to_coco_rle(compressed=False)),
        ("areas and boxes", lambda: Masks(masks.runs, masks.columns).boxes),
        ("to_polygons", masks.to_polygons),
        ("to_polygons(1.0)", lambda: masks.to_polygons(1.0)),
        ("rotated_boxes", masks.rotated_boxes),
        ("nms(0.7)", lambda: masks.nms(0.7)),
        ("union", masks.union),
        ("resize to half", lambda: masks.resize(width // 2, height // 2)),
        ("remove_small_regions(100)", lambda: masks.remove_small_regions(100)),
    ]
    for name, work in works:
        start = time.thread_time()
        work()
        print(f"  {name:<21} {1e3 * (time.thread_time() - start):8.1f} ms")


if __name__ == "__main__":
    main()
