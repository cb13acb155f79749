"""Ours against the package `segment-anything`: full size, seeded random weights, real photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("segment_anything", reason="nox -s reference installs the package to compare with")

import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.build_sam import _build_sam

import samovar
from samovar import Masks, Prompt, Prompts, Runtime
from samovar.protocols import DecodeOptions
from samovar_plugins.sam.plugin import build_sam
from samovar_plugins.toolkit import assemble
from tests.plugins.sam.structured import roughness, structured_weights
from tests.plugins.sam.weights import Sizes
from tests.reference.support import Agreement, ambiguous, aspects, prompt_arguments, some_prompts

SIZES = {
    "vit_b": Sizes(1024, 256, 768, 12, 12, 14, 2048),
    "vit_l": Sizes(1024, 256, 1024, 24, 16, 14, 2048),
    "vit_h": Sizes(1024, 256, 1280, 32, 16, 14, 2048),
}
KINDS = os.environ.get("SAMOVAR_REFERENCE_MODELS", "vit_b").split(",")
"""Those of `SIZES` to compare; ViT-H takes minutes an image on a CPU."""


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Runtime]:
    """The reference model, and ours loaded from what the reference saved."""
    kind = request.param
    reference = sam_model_registry[kind]()
    reference.load_state_dict(structured_weights("sam", SIZES[kind], objects=True), strict=True)
    path = tmp_path_factory.mktemp("weights") / "sam.pth"
    torch.save(reference.state_dict(), path)
    ours = samovar.load(path, device="cpu", cache="off")
    assert ours.name == f"sam-{kind.replace('_', '-')}"
    return reference.eval(), ours


def by_reference(predictor: SamPredictor, prompt: Prompt, multimask: bool) -> tuple[Any, Any, Any]:
    """Masks, predicted IoUs and logits, best first; of an ambiguous prompt's three only the best unless `multimask`."""
    masks, ious, logits = predictor.predict(**prompt_arguments(prompt), multimask_output=multimask or ambiguous(prompt))
    order = np.argsort(-ious, kind="stable")
    order = order if multimask else order[:1]
    return masks[order], ious[order], logits[order]


def test_answers_are_the_references(both: tuple[Any, Runtime], data_folder: Path) -> None:
    reference, ours = both
    predictor, total = SamPredictor(reference), Agreement(ours.segmenter)
    for image in aspects(data_folder)[: None if ours.name == "sam-vit-b" else 1]:
        prompts = some_prompts(image)
        predictor.set_image(np.array(image.pixels))
        embedding = ours.segmenter.encode([image])[0]
        np.testing.assert_allclose(embedding.tensors["image"], predictor.features[0].numpy(), atol=1e-4)
        for multimask in (False, True):
            options = DecodeOptions(multimask=multimask, logits=True)
            masks = ours.segmenter.decode([embedding], [Prompts.of(prompts)], options)[0]
            assert masks.logits is not None
            assert roughness(masks.logits) < 0.9, "the masks are noise"
            for number, prompt in enumerate(prompts):
                dense, ious, logits = by_reference(predictor, prompt, multimask)
                total.add(masks[masks.prompt_index == number], dense, logits, ious)
    total.check()


def lowered(weights: dict[str, torch.Tensor], by: float) -> dict[str, torch.Tensor]:
    """Weights whose logits are lower by a constant, made of one feature that no longer depends on anything.

    Random masks reach over the whole image, so that one of them suppresses all others; what is left of them does not.
    """
    feature = 4.0  # which GELU leaves as it is
    weights["mask_decoder.output_upscaling.3.weight"][:, 0] = 0
    weights["mask_decoder.output_upscaling.3.bias"][0] = feature
    for index in range(4):
        last = f"mask_decoder.output_hypernetworks_mlps.{index}.layers.2"
        weights[f"{last}.weight"][0] = 0
        weights[f"{last}.bias"][0] = -by / feature
    return weights


@pytest.fixture(scope="module")
def small() -> tuple[Any, Runtime]:
    """As `both`, with an encoder of three blocks: automatic masks encode many crops, and are about what comes after."""
    reference = _build_sam(64, 3, 4, [2])
    sizes = Sizes(1024, 256, 64, 3, 4, 14, 2048)
    weights = lowered(structured_weights("sam", sizes, objects=True), by=0.6)
    reference.load_state_dict(weights, strict=True)
    return reference.eval(), Runtime(assemble("small", lambda given: build_sam("sam", given.state), weights))


@pytest.mark.parametrize("layers", [0, 1])
def test_automatic_masks_are_the_references(small: tuple[Any, Runtime], data_folder: Path, layers: int) -> None:
    reference, ours = small
    image = aspects(data_folder)[0]
    parameters: dict[str, Any] = {
        "points_per_side": 6,
        "pred_iou_thresh": 0.3,
        "stability_score_thresh": 0.3,
        "stability_score_offset": 0.05,
        "box_nms_thresh": 0.95,
        "crop_nms_thresh": 0.95,
        "crop_n_layers": layers,
        "crop_n_points_downscale_factor": 2,
    }
    generator = SamAutomaticMaskGenerator(reference, output_mode="uncompressed_rle", **parameters)
    theirs = Masks.from_coco_rle([found["segmentation"] for found in generator.generate(np.array(image.pixels))])
    mine = ours.segment_all(image, **parameters)
    assert len(mine) == len(theirs) >= 5
    nearest = theirs.iou(mine).argmax(axis=1)
    assert sorted(nearest.tolist()) == list(range(len(mine)))
    apart = (theirs.to_array() ^ mine[nearest].to_array()).sum(axis=(1, 2))
    same = int((apart == 0).sum())
    print(f"{len(theirs)} automatic masks, {same} identical, at most {apart.max()} pixels apart")
    assert apart.max() < 5
