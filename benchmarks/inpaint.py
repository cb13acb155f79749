"""Filling holes without a model: patches beside OpenCV's Telea and Navier–Stokes, on the same holes, in one table.

`python -m benchmarks.inpaint` hides a disc of each photo, has every method fill it from what surrounds it, and compares
with what was hidden:

- `PSNR`: how close the pixels are. What a hole hid cannot be known, so smooth guesses do well here.
- `texture`: the mean absolute Laplacian of what was filled over that of what was hidden, the median over the photos; 1
  is as textured as it was.
- `alike`: the share of photos where that ratio lies between ½ and 2.
- `ms`: CPU time of one thread for each photo.

Then, for a photo of 12 megapixels and holes of several sizes, seconds of CPU time, and the most memory that filling
took beside the picture itself (on Linux).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol import data_root, pictures
from samovar.image import Image
from samovar_adapters.inpaint import MaskMargins, open_inpainter, remove

Pixels = NDArray[np.uint8]
Bits = NDArray[np.bool_]
LARGE = 4243, 2828
METHODS = "patches", "telea", "navier-stokes"
PEAK = Path("/proc/self/clear_refs")


def main() -> None:
    """Print the table, then what large photos take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few photos, to see that it runs")
    parser.add_argument("--share", type=float, default=0.05, help="of the photo that is hidden (default 0.05)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table(4 if options.quick else 80, options.share)
    print(f"\npatches on {LARGE[0]}×{LARGE[1]}")
    for megapixels in (0.1,) if options.quick else (0.1, 0.5, 2.5):
        large(megapixels)


def table(count: int, share: float) -> None:
    """Every method on the same holes."""
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in METHODS}
    for pixels, hole in scenes(count, share):
        for name in METHODS:
            inpainter = open_inpainter(name)
            if not rows[name]:
                remove(pixels, hole, inpainter, MaskMargins())  # whatever is compiled or loaded at first use
            start = time.thread_time()
            filled = remove(pixels, hole, inpainter, MaskMargins())
            rows[name].append((psnr(pixels, filled, hole), texture(pixels, filled, hole), time.thread_time() - start))
    print(f"{'method':<14} {'photos':>6} {'PSNR':>9} {'texture':>8} {'alike':>6} {'ms':>7}")
    for name, found in rows.items():
        close, kept, seconds = np.array(found).T
        alike = ((kept > 0.5) & (kept < 2)).mean()
        line = f"{name:<14} {len(found):>6} {close.mean():>6.2f} dB {np.median(kept):>8.2f} {alike:>6.0%}"
        print(f"{line} {1000 * seconds.mean():>7.0f}")


def scenes(count: int, share: float) -> Iterator[tuple[Pixels, Bits]]:
    """Photos, each with a disc of this share of it, somewhere."""
    random = np.random.default_rng(7)
    for picture in islice((one for one in pictures(data_root()) if one.subset == "bsdstr"), count):
        pixels = Image(picture.path).pixels
        height, width = pixels.shape[:2]
        radius = math.sqrt(share * height * width / math.pi)
        yield (
            pixels,
            disc(
                width, height, random.uniform(radius, width - radius), random.uniform(radius, height - radius), radius
            ),
        )


def disc(width: int, height: int, x: float, y: float, radius: float) -> Bits:
    """H×W bool."""
    rows, columns = np.ogrid[:height, :width]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def psnr(before: Pixels, after: Pixels, hole: Bits) -> float:
    """Peak signal to noise over the hole, in decibels."""
    error = float(np.mean((before[hole].astype(np.float64) - after[hole]) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def texture(before: Pixels, after: Pixels, hole: Bits) -> float:
    """How textured the inside of the hole is, over how textured it was."""
    inside = cv2.erode(hole.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    was, now = (
        float(np.abs(cv2.Laplacian(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), cv2.CV_32F))[inside].mean())
        for one in (before, after)
    )
    return now / max(was, 1e-3)


def large(megapixels: float) -> None:
    """One line: a hole of this size in a photo of 12 megapixels."""
    small = Image("docs/assets/photo.jpg").pixels
    pixels = np.asarray(cv2.resize(small, LARGE, interpolation=cv2.INTER_CUBIC), np.uint8)
    random = np.random.default_rng(0)
    pixels = np.asarray(cv2.add(pixels, random.integers(0, 12, pixels.shape, np.uint8)), np.uint8)  # its grain
    hole = disc(*LARGE, LARGE[0] * 0.7, LARGE[1] * 0.6, math.sqrt(megapixels * 1e6 / math.pi))
    PEAK.write_text("5")  # from here on; see proc(5)
    before = peak()
    start = time.thread_time()
    remove(pixels, hole, margins=MaskMargins())
    seconds = time.thread_time() - start
    print(f"hole of {megapixels:>4.1f} MP: {seconds:>5.1f} s, +{(peak() - before) / 1024:.0f} MiB", flush=True)


def peak() -> int:
    """The most memory that the process has had, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
