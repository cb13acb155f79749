"""The pictures and prompts whose answers by published code are kept in `golden/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samovar import Image, Prompt
from tests.conftest import ROOT
from tests.plugins.sam.weights import MOBILE, Sizes

__all__ = ["FOLDER", "SAMPLE", "SIZES", "cases"]

FOLDER = Path(__file__).parent / "golden"
SAMPLE = 16
"""Every how many rows and columns of the logits are kept."""

SIZES = {
    "mobile-sam": MOBILE,
    "efficient-sam-ti": Sizes(1024, 256, 192, 12, 3, mlp=2048),
    "efficient-sam-s": Sizes(1024, 256, 384, 12, 6, mlp=2048),
}


def cases(*, masks: bool) -> list[tuple[Image, list[Prompt]]]:
    """A landscape, a portrait and a panorama of the photo in the repository, each with a prompt of every kind."""
    photo = Image(ROOT / "docs" / "assets" / "photo.jpg")
    return [
        (image, _prompts(image, masks)) for image in (photo, photo.crop(150, 0, 400, 400), photo.crop(0, 150, 600, 280))
    ]


def _prompts(image: Image, masks: bool) -> list[Prompt]:
    width, height = image.width, image.height
    box, click = (0.2 * width, 0.1 * height, 0.7 * width, 0.8 * height), (0.5 * width, 0.4 * height)
    prompts = [
        Prompt(box=box),
        Prompt(points=[click]),
        Prompt(points=[click, (0.1 * width, 0.9 * height)], point_labels=[1, 1]),
        Prompt(points=[click, (0.6 * width, 0.5 * height)], box=box),
    ]
    if masks:
        logits = np.random.default_rng(width).normal(0, 4, (256, 256)).astype(np.float32)
        prompts.append(Prompt(points=[click], box=box, mask=logits))
    return prompts
