"""For `benchmarks.cache`: models to encode with, and one click on one image in a process of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Click", "sam_weights"]


def sam_weights(folder: Path, name: str) -> Path | None:
    """A checkpoint of a SAM model with random weights whose masks look like masks; None where torch is not installed.

    Args:
        name: "sam-vit-b" or "mobile-sam".
    """
    try:
        import torch

        from tests.plugins.sam.structured import structured_weights
        from tests.plugins.sam.weights import MOBILE, Sizes
    except ModuleNotFoundError:
        return None
    path = folder / f"{name}.pth"
    if not path.exists():
        vit_b = Sizes(frame=1024, channels=256, width=768, depth=12, heads=12, window=14, mlp=2048)
        family, sizes = ("sam", vit_b) if name == "sam-vit-b" else ("mobile-sam", MOBILE)
        torch.save(structured_weights(family, sizes), path)  # type: ignore[arg-type]
    return path


CLICK = """
import json, sys, time
import numpy as np
import samovar
model, weights, cache, other, image = json.loads(sys.argv[1])
runtime = samovar.load(model, weights=weights, cache=cache, device="cpu")
prompt = samovar.Prompt(points=[[60, 50]])
if other is not None:  # an earlier click, on another image that is in a cache of its own: loads what loads late
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    samovar.Runtime(runtime.segmenter, cache=other).segment(noise, prompt).to_coco_rle()
began = time.perf_counter()
runs = runtime.segment(image, prompt).to_coco_rle()
wall = time.perf_counter() - began
runtime.cache.close()
print(json.dumps([wall, runs[0]["counts"]]))
"""


@dataclass(frozen=True)
class Click:
    """One click on one image, each time in a process of its own that has just loaded the model.

    Args:
        model, weights: as `samovar.load` takes them.
        folder: for caches.
        image: the image's file.
    """

    model: str
    weights: Path | None
    folder: Path
    image: Path

    def __call__(self, *, cached: bool = True, alias: bool = True, first: bool = False) -> float:
        """Seconds from click to mask, as COCO RLE.

        Args:
            cached: whether there is a cache.
            alias: whether it knows the image's file; otherwise the image must be decoded.
            first: whether it is the process's first click of all.
        """
        cache = self.folder / f"cache-{self.model}"
        if not alias:
            db = sqlite3.connect(cache / "v2" / "index.sqlite")
            with db:
                db.execute("DELETE FROM aliases")
            db.close()
        weights = None if self.weights is None else str(self.weights)
        other = None if first else str(self.folder / f"other-{self.model}")
        arguments: list[Any] = [self.model, weights, str(cache) if cached else "off", other, str(self.image)]
        out = subprocess.run(
            [sys.executable, "-c", CLICK, json.dumps(arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if out.returncode != 0:
            raise SystemExit(out.stderr[-2000:])
        wall, _ = json.loads(out.stdout.splitlines()[-1])
        return float(wall)
