"""`samovar bench`: how fast a model is on this machine."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from samovar.cli.options import json_option, model_options

if TYPE_CHECKING:
    from samovar.embedding import Embedding
    from samovar.image import Image
    from samovar.protocols import Segmenter

__all__ = ["bench"]


@click.command()
@click.argument("image", required=False, metavar="[IMAGE]", type=click.Path())
@click.option("--repeat", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs; medians are printed.")
@model_options
@json_option
def bench(image: str | None, repeat: int, as_json: bool, **loading: Any) -> None:
    """Time a model on this machine: encode, one point, 1 and 64 boxes (wall milliseconds, medians).

    Without IMAGE, a 640×480 image of noise and discs is made up; a photo of your own says more.
    """
    from samovar.image import Image
    from samovar.loading import load

    runtime = load(loading.pop("model"), **{**loading, "cache": "off"})
    shown = Image(image) if image is not None else Image(_discs(640, 480), name="made up")
    segmenter = runtime.segmenter
    embedding = segmenter.encode([shown])[0]  # also compiles what is compiled on first use
    rows = {"encode": _median(lambda: segmenter.encode([shown]), repeat)}
    for name, work in _decodes(segmenter, embedding, shown).items():
        work()
        rows[name] = _median(work, repeat)
    if as_json:
        click.echo(json.dumps({"model": runtime.name, "width": shown.width, "height": shown.height, "ms": rows}))
        return
    click.echo(f"{runtime.name} on {shown.width}×{shown.height}, {embedding.nbytes / 2**20:.2f} MiB an embedding")
    for name, milliseconds in rows.items():
        click.echo(f"  {name:<10} {milliseconds:9.1f} ms")


def _decodes(segmenter: Segmenter, embedding: Embedding, image: Image) -> dict[str, Callable[[], object]]:
    import numpy as np

    from samovar.prompts import Prompts
    from samovar.protocols import DecodeOptions

    random = np.random.default_rng(0)
    size = np.array([image.width, image.height], np.float32)
    corner = random.uniform(0, 0.6, (64, 2)) * size
    boxes = np.hstack([corner, corner + random.uniform(0.1, 0.4, (64, 2)) * size])
    sets = {
        "1 point": Prompts.from_points(size[None] / 2),
        "1 box": Prompts.from_boxes(boxes[:1]),
        "64 boxes": Prompts.from_boxes(boxes),
    }
    options = DecodeOptions()
    return {name: partial(segmenter.decode, [embedding], [prompts], options) for name, prompts in sets.items()}


def _median(work: Callable[[], object], repeat: int) -> float:
    """Wall milliseconds, the median of `repeat` runs."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _discs(width: int, height: int) -> Any:
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    pixels = random.normal(128, 12, (height, width, 3))
    for _ in range(24):
        x, y, radius = random.integers(0, (width, height, height // 4))
        cv2.circle(pixels, (int(x), int(y)), int(radius), random.uniform(0, 255, 3).tolist(), -1)
    return np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
