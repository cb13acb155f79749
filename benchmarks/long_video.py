"""Memory over a long video: a figure every thousand frames.

`python -m benchmarks.long_video` follows two balls through 10,000 frames made on the way, 96×64 pixels, with the
propagating tracker, a checkpoint and MOTS text, and no cache. Printed are the process's resident memory and the frames
a second. One ball leaves and comes back every 500 frames.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

import samovar
from samovar_adapters.video.checkpoint import Checkpoint
from samovar_adapters.video.following import follow
from samovar_adapters.video.frames import Frame
from samovar_adapters.video.outputs import MotsText, Numbering
from samovar_plugins.propagate.tracker import PropagateTracker

WIDTH, HEIGHT = 96, 64
RADIUS = 9


def frames(count: int) -> Iterator[Frame]:
    """Balls on a ground of noise, smoothly moving."""
    ground = np.random.default_rng(0).integers(40, 110, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(count):
        picture = ground.copy()
        away = 150 < number % 500 < 200
        for (x, y), colour in zip(centres(number), ((220, 60, 40), (60, 90, 230))):
            if not (away and colour[0] == 60):
                picture[(columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2] = colour
        yield Frame(number, Fraction(number, 25), samovar.Image(picture, name=f"frame {number}"))


def centres(number: int) -> list[tuple[float, float]]:
    """Where the balls are."""
    t = number / 40
    return [(30 + 12 * np.sin(t), 20 + 4 * np.cos(t)), (66 + 12 * np.cos(t), 44 + 4 * np.sin(t))]


def resident() -> float:
    """MiB of this process's memory that are in use."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    given = parser.parse_args()
    sam = samovar.load("default", cache="off")
    prompts = [samovar.Prompt(box=(x - RADIUS, y - RADIUS, x + RADIUS + 1, y + RADIUS + 1)) for x, y in centres(0)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        checkpoint = Checkpoint(path / "progress", {"benchmark": "long video"})
        sinks = [MotsText(path / "mots.txt", Numbering())]
        started, seen = time.perf_counter(), 0
        every = max(given.frames // 10, 1)
        work = follow(frames(given.frames), PropagateTracker(sam), prompts, sinks, checkpoint=checkpoint)
        for frame, masks in work:
            seen += int((masks.areas > 0).sum())
            if (frame.number + 1) % every == 0:
                rate = (frame.number + 1) / (time.perf_counter() - started)
                told = f"{resident():7.1f} MiB  {rate:5.1f} frames/s  {seen} masks"
                print(f"{frame.number + 1:6d} frames  {told}", flush=True)


if __name__ == "__main__":
    main()
