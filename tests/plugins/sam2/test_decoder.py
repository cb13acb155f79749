"""What SAM 2's parts promise beyond SAM's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from samovar import Image
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions
from samovar.testing.scenes import scene
from samovar_plugins.sam2.decoder import build_sam2
from samovar_plugins.toolkit import SamComponents, SamSegmenter, StateDict, Stretch, group_prompts
from tests.plugins.sam2.weights import TINY, random_weights, tiny

BOX = Prompt(box=(8, 6, 50, 40))


@pytest.fixture
def parts() -> SamComponents:
    with torch.inference_mode():
        return build_sam2(TINY.layout, StateDict(random_weights()), TINY.frame)


def decoded(
    parts: SamComponents, prompts: Sequence[Prompt], *, multimask_output: bool, best_only: bool
) -> tuple[Tensor, Tensor]:
    image = scene(64, 48)
    with torch.inference_mode():
        tensors = {name: found[0] for name, found in parts.encoder(parts.resize.pixels(image)[None]).items()}
        (group,) = group_prompts(Prompts.of(prompts), parts.resize.scale(64, 48))
        shared = parts.decoder.share(tensors, None, many_prompts=False)
        found = parts.decoder(
            shared, parts.prompts.tokens(group), multimask_output=multimask_output, best_only=best_only
        )
    return found.logits, found.ious


@pytest.mark.parametrize("stable", [True, False])
def test_an_unstable_mask_gives_way_to_the_best_of_the_three(
    parts: SamComponents, stable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [BOX, Prompt(box=(20, 20, 60, 44)), Prompt(box=(2, 2, 12, 40))]
    monkeypatch.setattr("samovar_plugins.sam2.decoder.STABLE", -1.0 if stable else 2.0)
    one, iou = decoded(parts, boxes, multimask_output=False, best_only=True)
    best, best_iou = decoded(parts, boxes, multimask_output=True, best_only=True)
    assert one.shape == best.shape == (3, 1, TINY.frame // 4, TINY.frame // 4)
    assert torch.equal(iou, best_iou) is not stable
    assert torch.allclose(one, best, atol=1e-5) is not stable


def test_stability_counts_logits_between_the_thresholds() -> None:
    from samovar_plugins.sam2.decoder import _stable

    logits = torch.full((3, 10, 10), -1.0)
    logits[0] = 1.0  # certain everywhere
    logits[1, :9] = 1.0
    logits[1, 9] = 0.01  # a tenth hangs on the threshold
    assert _stable(logits).tolist() == [True, False, True], "an empty mask is stable"


def test_scores_are_probabilities(parts: SamComponents) -> None:
    _, ious = decoded(parts, [BOX], multimask_output=True, best_only=False)
    assert ((ious > 0) & (ious < 1)).all()


def test_images_are_squeezed_with_antialiasing() -> None:
    lines = np.zeros((512, 512, 3), np.uint8)
    lines[7::16] = lines[8::16] = 255  # an eighth of the rows, and exactly those that a plain resize looks at
    pixels, picked = (
        Stretch(32, antialias=antialias, mean=(0, 0, 0), deviation=(1, 1, 1)).pixels(Image(lines))
        for antialias in (True, False)
    )
    assert picked.min() == 1
    assert pixels.shape == (3, 32, 32)
    assert pixels.max() < 0.2
    expected = functional.interpolate(
        torch.from_numpy(lines).permute(2, 0, 1)[None].float() / 255, (32, 32), mode="bilinear", antialias=True
    )[0]
    assert torch.equal(pixels, expected)


def test_logits_for_refining_are_bounded_while_masks_are_not(parts: SamComponents) -> None:
    loud = random_weights()
    for index in range(4):
        for leaf in ("weight", "bias"):
            loud[f"sam_mask_decoder.output_hypernetworks_mlps.{index}.layers.2.{leaf}"] *= 200
    with torch.inference_mode():
        model = SamSegmenter(
            build_sam2(TINY.layout, StateDict(loud), TINY.frame), fingerprint="loud", device="cpu", dtype=torch.float32
        )
    image = Image(scene(64, 48))
    (masks,) = model.decode(model.encode([image]), [Prompts.of([BOX])], DecodeOptions(logits=True, multimask=True))
    assert masks.logits is not None
    assert np.abs(masks.logits).max() == 32
    assert tiny().prompt_kinds == {"points", "box", "mask"}
