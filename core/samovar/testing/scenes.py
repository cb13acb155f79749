"""Small made-up images and prompts for them: each size and seed gives the same one everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Exemplar, Prompt, Prompts
from samovar.types import KINDS, Kind

__all__ = ["SIZES", "all_at_once", "prompt", "prompts", "scene", "scenes", "undecodable"]

SIZES: tuple[tuple[int, int], ...] = ((64, 48), (48, 64), (33, 17), (8, 8), (1, 1))
"""Width and height of the images: both ways round, odd, tiny, and the tiniest."""


def scene(width: int, height: int, seed: int = 0) -> Image:
    """A bright rectangle on a darker, slightly noisy slope; the colours depend on `seed`."""
    random = np.random.default_rng([seed, width, height])
    slope = np.linspace(40, 90, width)[None, :, None] + np.linspace(0, 20, height)[:, None, None]
    pixels = slope + random.uniform(-20, 20, 3) + random.normal(0, 3, (height, width, 3))
    x1, y1, x2, y2 = _object(width, height)
    pixels[y1:y2, x1:x2] = random.uniform(170, 240, 3) + random.normal(0, 3, (y2 - y1, x2 - x1, 3))
    return Image(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), name=f"scene {seed}, {width}×{height}")


def undecodable(width: int, height: int, folder: Path) -> Image:
    """An image whose size can be read, and whose pixels cannot: a PNG file in `folder`, torn after its header."""
    file = folder / "torn.png"
    PIL.Image.fromarray(scene(width, height).pixels).save(file)
    file.write_bytes(file.read_bytes()[:64])
    return Image(file)


def scenes(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Image]:
    """One image of each size, all different."""
    return [scene(width, height, seed) for seed, (width, height) in enumerate(sizes)]


def prompts(kinds: Iterable[Kind], image: Image, count: int) -> Prompts:
    """`count` prompts on `image`, of all `kinds` in turn, no two alike on an image of some size."""
    wanted = [kind for kind in KINDS if kind in kinds]
    return Prompts.of([prompt(wanted[number % len(wanted)], image, number) for number in range(count)])


def prompt(kind: Kind, image: Image, number: int = 0) -> Prompt:
    """One prompt of one kind: for `number` 0 the bright rectangle, for others something a little different."""
    width, height = image.width, image.height
    x1, y1, x2, y2 = _object(width, height)
    grow = number / 7
    box = (x1 - grow * x1 / 3, y1 - grow * y1 / 3, x2 + grow / 3, y2 + grow / 5)
    if kind == "box":
        return Prompt(box=box)
    if kind == "points":
        inside = ((x1 + x2) / 2 - (x2 - x1) * (number % 5) / 12, (y1 + y2) / 2)
        corner = (0.5, 0.5)
        several = number % 2 == 1 and min(width, height) > 2
        return Prompt(points=[inside, corner] if several else [inside], point_labels=[1, 0] if several else [1])
    if kind == "mask":
        return Prompt(mask=_mask(width, height, number % 3))
    if kind == "text":
        return Prompt(text=("rectangle", "bright thing", "background")[number % 3])
    return Prompt(exemplar=Exemplar(image, _mask(width, height, 0)))


def all_at_once(kinds: Iterable[Kind], image: Image) -> Prompt:
    """One prompt that combines every one of `kinds`."""
    parts = {kind: prompt(kind, image) for kind in KINDS if kind in kinds}
    return Prompt(
        points=parts["points"].points if "points" in parts else None,
        box=parts["box"].box if "box" in parts else None,
        mask=parts["mask"].mask if "mask" in parts else None,
        text=parts["text"].text if "text" in parts else None,
        exemplar=parts["exemplar"].exemplar if "exemplar" in parts else None,
    )


def _object(width: int, height: int) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2 of the bright rectangle, at least one pixel."""
    return (
        math.floor(0.3 * width),
        math.floor(0.25 * height),
        math.ceil(0.7 * width),
        math.ceil(0.75 * height),
    )


def _mask(width: int, height: int, inset: int) -> Masks:
    x1, y1, x2, y2 = _object(width, height)
    dense: NDArray[np.bool_] = np.zeros((1, height, width), bool)
    dense[0, min(y1 + inset, y2 - 1) : y2, min(x1 + inset, x2 - 1) : x2] = True
    return Masks.from_array(dense)
