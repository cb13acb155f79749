"""Where a fresh process spends its time until its first mask, and what a lean way back for compiled kernels saves.

`python -m benchmarks.start` starts new processes in turn, half of which read their kernels back from numba's disk cache
as numba does, half as `samovar.jit_cache` does, and prints the median CPU milliseconds of each stage. Whatever was not
compiled before is compiled in a first round that is not counted; `--compile` measures that, in an empty cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "docs" / "assets" / "portrait.jpg"
WAYS = ("numba's", "lean")
STAGES = ("imports", "numba", "kernels", "encode and decode")

PROGRAM = """
import json, sys, time
way, photo = sys.argv[1:]
import samovar, samovar.cli.segment, samovar.cli.job
sam = samovar.load("default", cache="off")
image = samovar.Image(photo)
image.pixels
stages = [time.process_time()]
import numba
import samovar.jit
import samovar.jit_cache
if way != "lean":
    samovar.jit.lean_cache_fits = lambda: False
stages.append(time.process_time())
for _ in range(3):
    sam.segment(image, samovar.Prompt(points=[[200, 200]]))
    stages.append(time.process_time())
json.dump(stages, sys.stdout)
"""


def stages_of(way: str, **places: str) -> dict[str, float]:
    """Milliseconds of each stage in one new process."""
    command = [sys.executable, "-c", PROGRAM, way, str(PHOTO)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, env={**environment, **places}, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    ready, loaded, first, second, third = json.loads(done.stdout)
    again = third - second
    seconds = (ready, loaded - ready, first - loaded - again, again)
    return {stage: value * 1000 for stage, value in zip(STAGES, seconds)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="processes of each kind (default 9)")
    parser.add_argument("--compile", action="store_true", help="also measure the first process on a machine")
    parser.add_argument("--quick", action="store_true", help="one process of each kind, to see that it runs")
    given = parser.parse_args()
    for way in WAYS:
        stages_of(way)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(1 if given.quick else given.rounds):
        for way in WAYS:
            found[way].append(stages_of(way))
    print(f"{'kernels read back':<20} " + " ".join(f"{stage:>18}" for stage in STAGES) + f" {'all':>8}")
    for way in WAYS:
        medians = [statistics.median(one[stage] for one in found[way]) for stage in STAGES]
        whole = statistics.median(sum(one.values()) for one in found[way])
        print(f"{way + ' way':<20} " + " ".join(f"{value:18.0f}" for value in medians) + f" {whole:8.0f}")
    if given.compile:
        with tempfile.TemporaryDirectory() as folder:
            compiled = stages_of("lean", NUMBA_CACHE_DIR=folder)
        print(f"compiling them all, once a machine: {compiled['kernels'] / 1000:.1f} s")


if __name__ == "__main__":
    main()
