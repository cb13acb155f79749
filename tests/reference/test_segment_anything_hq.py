"""Ours against the package `segment-anything-hq`: full size, seeded random weights, real photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("segment_anything_hq", reason="nox -s reference installs the package to compare with")

import torch
from segment_anything_hq import SamPredictor, sam_model_registry

import samovar
from samovar import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.sam.plugin import Kind
from tests.plugins.sam.structured import roughness, structured_weights
from tests.plugins.sam.weights import MOBILE, Sizes
from tests.reference.support import Agreement, ambiguous, aspects, prompt_arguments, some_prompts

SIZES: dict[str, tuple[Kind, Sizes]] = {
    "vit_tiny": ("sam-hq-tiny", MOBILE),
    "vit_b": ("sam-hq", Sizes(1024, 256, 768, 12, 12, 14, 2048)),
    "vit_l": ("sam-hq", Sizes(1024, 256, 1024, 24, 16, 14, 2048)),
    "vit_h": ("sam-hq", Sizes(1024, 256, 1280, 32, 16, 14, 2048)),
}
KINDS = os.environ.get("SAMOVAR_REFERENCE_HQ_MODELS", "vit_tiny,vit_b").split(",")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_answers_are_the_references(kind: str, tmp_path: Path, data_folder: Path) -> None:
    family, sizes = SIZES[kind]
    reference: Any = sam_model_registry[kind]()
    reference.load_state_dict(structured_weights(family, sizes, objects=True), strict=True)
    for module in reference.modules():  # TinyViT keeps its attention biases in a buffer that only train() refreshes
        if hasattr(module, "attention_bias_idxs"):
            module.train(True)
    reference.eval()
    path = tmp_path / "sam_hq.pth"
    torch.save(reference.state_dict(), path)
    ours = samovar.load(path, device="cpu", cache="off")
    assert ours.name == f"sam-hq-{kind.replace('_', '-')}"
    predictor, total = SamPredictor(reference), Agreement(ours.segmenter)
    for image in aspects(data_folder)[: None if kind == "vit_tiny" else 1]:
        prompts = some_prompts(image)
        predictor.set_image(np.array(image.pixels))
        (embedding,) = ours.segmenter.encode([image])
        for multimask in (False, True):
            options = DecodeOptions(multimask=multimask, logits=True)
            masks = ours.segmenter.decode([embedding], [Prompts.of(prompts)], options)[0]
            assert masks.logits is not None
            assert roughness(masks.logits) < 0.9, "the masks are noise"
            for number, prompt in enumerate(prompts):
                dense, ious, logits = predictor.predict(
                    **prompt_arguments(prompt), multimask_output=multimask or ambiguous(prompt)
                )
                total.add(masks[masks.prompt_index == number], dense, logits, ious)
    total.check()
