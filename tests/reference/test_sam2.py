"""Ours against the package `sam2`: full size, seeded random weights, real photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sam2", reason="nox -s reference installs the package to compare with")

import torch
from sam2.build_sam import build_sam2
from sam2.sam2_image_predictor import SAM2ImagePredictor

import samovar
from samovar import Prompt, Prompts, Runtime
from samovar.plugins import find_segmenter
from samovar.protocols import DecodeOptions
from samovar_plugins.sam2.plugin import MODELS
from tests.plugins.sam.structured import roughness
from tests.plugins.sam2.weights import Sizes, centred
from tests.reference.support import Agreement, ambiguous, aspects, prompt_arguments, some_prompts

NAMES = os.environ.get("SAMOVAR_REFERENCE_SAM2", "sam2.1-tiny").split(",")
"""Which to compare; the large ones take a minute an image on a CPU."""

# The package scripts its preprocessing, which newer releases of torch advise against.
pytestmark = pytest.mark.filterwarnings(r"ignore:.torch\.jit\.script. is deprecated:FutureWarning")

CONFIGS = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}


@pytest.fixture(scope="module", params=NAMES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Runtime]:
    """The reference model, and ours loaded from a checkpoint as Meta writes them."""
    (model,) = [model for model in MODELS if model.name == request.param]
    version, _, size = model.name.partition("-")
    reference = build_sam2(f"configs/{version}/{version}_hiera_{CONFIGS[size]}.yaml", None, device="cpu")
    assert sum(tensor.numel() for tensor in reference.parameters()) == find_segmenter(model.name).parameters
    background = reference.image_encoder.trunk.pos_embed.shape[-1]
    weights = centred(Sizes(1024, 256, model.width, model.layout, background, 2048))
    reference.load_state_dict({**reference.state_dict(), **weights}, strict=True)
    path = tmp_path_factory.mktemp("weights") / "sam2.pt"
    torch.save({"model": reference.state_dict()}, path)
    ours = samovar.load(path, device="cpu", cache="off")
    assert ours.name == model.name
    return reference.eval(), ours


def by_reference(predictor: SAM2ImagePredictor, prompt: Prompt, multimask: bool) -> tuple[Any, Any, Any]:
    """Masks, predicted IoUs and logits, best first; of an ambiguous prompt's three only the best unless `multimask`."""
    several = multimask or ambiguous(prompt)
    masks, ious, logits = predictor.predict(**prompt_arguments(prompt), multimask_output=several)
    order = np.argsort(-ious, kind="stable")
    order = order if multimask else order[:1]
    return masks[order].astype(bool), ious[order], logits[order]


def test_answers_are_the_references(both: tuple[Any, Runtime], data_folder: Path) -> None:
    reference, ours = both
    predictor, total = SAM2ImagePredictor(reference), Agreement(ours.segmenter)
    for image in aspects(data_folder):
        prompts = some_prompts(image)
        predictor.set_image(np.array(image.pixels))
        embedding = ours.segmenter.encode([image])[0]
        fine, middle = predictor._features["high_res_feats"]
        for name, theirs in (("image", predictor._features["image_embed"]), ("middle", middle), ("fine", fine)):
            np.testing.assert_allclose(embedding.tensors[name], theirs[0].numpy(), atol=1e-4)
        for multimask in (False, True):
            options = DecodeOptions(multimask=multimask, logits=True)
            masks = ours.segmenter.decode([embedding], [Prompts.of(prompts)], options)[0]
            assert masks.logits is not None
            assert roughness(masks.logits) < 0.9, "the masks are noise"
            for number, prompt in enumerate(prompts):
                dense, ious, logits = by_reference(predictor, prompt, multimask)
                total.add(masks[masks.prompt_index == number], dense, logits, ious)
    total.check()
