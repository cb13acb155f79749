"""Training pictures: the COCO half of the shared masks, each in several random disguises.

Only images whose file name begins with `cocotr__` are ever read: their masks are COCO panoptic annotations
(CC BY 4.0). The BSDS half and the videos are for evaluation alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar import Image

__all__ = ["Example", "data_root", "disguise", "load_examples"]

_SMALLEST = 80  # pixels of a mask worth learning from


@dataclass(frozen=True)
class Example:
    """One picture with the masks of some of its objects.

    Attributes:
        name: file name.
        pixels: H×W×3 uint8, RGB.
        masks: k×H×W bool.
    """

    name: str
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def data_root() -> Path:
    """The folder of shared evaluation data: $SAMOVAR_DATA, or ../shared/data beside the repository."""
    given = os.environ.get("SAMOVAR_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[2].parent / "shared" / "data"


def load_examples(root: Path) -> list[Example]:
    """The COCO half, in file order."""
    from pycocotools import mask as coco

    index = json.loads((root / "masks" / "index.json").read_text())
    wanted: dict[int, list[NDArray[np.bool_]]] = {}
    for record in index["masks"]:
        if index["images"][record["image"]]["subset"] == "cocotr":
            rle = {"size": record["rle"]["size"], "counts": record["rle"]["counts"].encode()}
            wanted.setdefault(record["image"], []).append(coco.decode(rle) > 0)
    out = []
    for image, masks in sorted(wanted.items()):
        path = root / "masks" / index["images"][image]["file"]
        out.append(Example(path.name, Image(path).pixels, np.stack(masks)))
    return out


def _crop(example: Example, rng: np.random.Generator) -> Example:
    height, width = example.pixels.shape[:2]
    share = float(np.exp(rng.uniform(np.log(0.35), 0)))
    w, h = max(int(width * share), 96), max(int(height * share), 96)
    w, h = min(w, width), min(h, height)
    target = example.masks[rng.integers(len(example.masks))]
    ys, xs = np.nonzero(target)
    cx, cy = rng.choice(xs), rng.choice(ys)
    left = int(np.clip(cx - rng.uniform(0.2, 0.8) * w, 0, width - w))
    top = int(np.clip(cy - rng.uniform(0.2, 0.8) * h, 0, height - h))
    window = np.s_[top : top + h, left : left + w]
    full = example.masks.reshape(len(example.masks), -1).sum(axis=1)
    masks = np.stack([mask[window] for mask in example.masks])
    seen = masks.reshape(len(masks), -1).sum(axis=1)
    # objects mostly cut away are not what anybody would ask for, yet they must not count as background either
    keep = (seen >= 0.5 * full) & (seen >= max(_SMALLEST, 0.0008 * w * h))
    if not keep.any():
        return example
    return Example(example.name, np.ascontiguousarray(example.pixels[window]), masks[keep])


def _recolour(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    image = pixels.astype(np.float32) / 255
    image = image ** np.float32(np.exp(rng.normal(0, 0.25)))
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * np.float32(np.exp(rng.normal(0, 0.3)) if rng.random() > 0.05 else 0)
    image = (image - 0.5) * np.float32(np.exp(rng.normal(0, 0.15))) + 0.5 + np.float32(rng.normal(0, 0.04))
    image = image * (1 + rng.normal(0, 0.05, 3)).astype(np.float32)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2)))
    if rng.random() < 0.2:
        image = image + rng.normal(0, rng.uniform(0.005, 0.03), image.shape).astype(np.float32)
    return np.asarray(np.clip(image * 255, 0, 255), np.uint8)


def disguise(example: Example, seed: int) -> Example:
    """The example as it is for seed 0; otherwise cropped, mirrored and recoloured at random."""
    if seed == 0:
        return example
    rng = np.random.default_rng([seed, *example.name.encode()])
    if rng.random() < 0.75:
        example = _crop(example, rng)
    pixels, masks = example.pixels, example.masks
    if rng.random() < 0.5:
        pixels, masks = pixels[:, ::-1], masks[:, :, ::-1]
    return Example(example.name, np.ascontiguousarray(_recolour(pixels, rng)), np.ascontiguousarray(masks))
