"""Low-resolution logits, with what a segmenter says of where they lie, are its masks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason='networks need torch; pip install "samovar[sam]"')

import torch
from torch.nn import functional

from samovar import Image, Prompt, Prompts
from samovar.protocols import DecodeOptions, PlacesLogits, Segmenter
from samovar.testing.scenes import scene
from tests.plugins.edge_tam.weights import tiny as edge_tam
from tests.plugins.sam.models import FAMILIES, tiny
from tests.plugins.sam2.weights import tiny as sam2

KINDS = [*FAMILIES, "sam2", "edge-tam"]


def model(kind: str) -> Segmenter:
    made = {"sam2": sam2, "edge-tam": edge_tam}.get(kind)
    return made() if made else tiny(kind)


@pytest.mark.parametrize("size", [(64, 48), (37, 90), (300, 40)])
@pytest.mark.parametrize("kind", KINDS)
def test_sampled_where_they_lie_they_give_the_masks(kind: str, size: tuple[int, int]) -> None:
    width, height = size
    segmenter = model(kind)
    assert isinstance(segmenter, PlacesLogits)
    asked = [
        Prompt(box=(0.1 * width, 0.2 * height, 0.8 * width, 0.9 * height)),
        Prompt(points=[(width / 2, height / 2)]),
    ]
    (masks,) = segmenter.decode(
        segmenter.encode([Image(scene(width, height))]), [Prompts.of(asked)], DecodeOptions(multimask=True, logits=True)
    )
    assert masks.logits is not None
    x1, y1, x2, y2 = segmenter.logits_box(width, height)
    x = (np.arange(width) + 0.5 - x1) / (x2 - x1) * 2 - 1
    y = (np.arange(height) + 0.5 - y1) / (y2 - y1) * 2 - 1
    places = torch.from_numpy(np.stack(np.meshgrid(x, y), -1).astype(np.float32))[None]
    logits = torch.from_numpy(np.array(masks.logits))[None]
    sampled = functional.grid_sample(logits, places, align_corners=False, padding_mode="border")[0].numpy() > 0
    # A model that enlarges otherwise than bilinearly differs along the outline, where these tiny ones have much of it.
    assert (sampled == masks.to_array()).mean() > 0.95
