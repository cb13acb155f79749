"""For `benchmarks.cache`: models to encode with, and one click on one image in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["click_in_new_process", "sam_weights"]


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
import samovar
model, weights, cache, image = json.loads(sys.argv[1])
runtime = samovar.load(model, weights=weights, cache=cache, device="cpu")
prompt = samovar.Prompt(points=[[60, 50]])
if weights is None:  # load what is compiled, with another picture
    import numpy as np
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    samovar.Runtime(runtime.segmenter).segment(noise, prompt)
wall, cpu = time.perf_counter(), time.process_time()
masks = runtime.segment(image, prompt)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
runtime.cache.close()
print(json.dumps([wall, cpu, masks.to_coco_rle()[0]["counts"]]))
"""


def click_in_new_process(model: str, weights: Path | None, cache: str, image: Path) -> tuple[float, float, str]:
    """Wall and CPU seconds from click to mask in a process that has just loaded the model, and the mask."""
    arguments: list[Any] = [model, None if weights is None else str(weights), cache, str(image)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", CLICK, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if out.returncode != 0:
        raise SystemExit(f"after {time.perf_counter() - began:.0f} s: {out.stderr[-2000:]}")
    wall, cpu, mask = json.loads(out.stdout.splitlines()[-1])
    return wall, cpu, mask
