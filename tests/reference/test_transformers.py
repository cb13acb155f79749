"""Ours from a folder that Hugging Face's `transformers` saved, against its own forward pass. Full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="nox -s reference installs the package to compare with")

import torch
from transformers import SamConfig, SamHQConfig, SamHQModel, SamModel

import samovar
from samovar import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.toolkit import ResizeLongestSide
from tests.reference.support import aspects


def model_of(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "sam-vit-b":
        return SamModel(SamConfig()).eval()
    config = SamHQConfig(mask_decoder_config={"vit_dim": 768})
    model = SamHQModel(config).eval()
    _upscale_what_came_back(model.mask_decoder)
    return model


def _upscale_what_came_back(decoder: Any) -> None:
    """Have SAM-HQ's decoder make masks of the image as its two-way transformer returns it.

    That is what the authors' package does, and SAM's decoder in transformers. SAM-HQ's in transformers (5.24 at least)
    drops what comes back, and makes masks of what it had passed in, with rows and columns exchanged, so that prompts
    do not change the features. All its other modules agree with the package, and are compared as they are.
    """
    came_back: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, arguments: Any, answer: tuple[torch.Tensor, torch.Tensor]) -> None:
        came_back[:] = [answer[1]]

    def replace(module: torch.nn.Module, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (came_back.pop().transpose(2, 3).reshape(arguments[0].shape),)

    decoder.transformer.register_forward_hook(keep)
    decoder.upscale_conv1.register_forward_pre_hook(replace)


@pytest.mark.parametrize("kind", ["sam-vit-b", "sam-hq-vit-b"])
def test_answers_are_those_of_transformers(kind: str, tmp_path: Path, data_folder: Path) -> None:
    reference = model_of(kind)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                parameter.normal_(std=0.1)
            elif parameter.ndim == 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    reference.save_pretrained(tmp_path)
    ours = samovar.load(tmp_path, device="cpu", cache="off")
    assert ours.name == kind
    image = aspects(data_folder)[1]
    boxes = np.array([[0.1, 0.1, 0.6, 0.7], [0.3, 0.2, 0.9, 0.5], [0.5, 0.6, 0.8, 0.95]])
    boxes = boxes * np.tile([image.width, image.height], 2)
    resize = ResizeLongestSide(1024)
    scale = np.tile(resize.scale(image.width, image.height), 2)
    with torch.inference_mode():
        answer = reference(
            pixel_values=resize.pixels(image)[None],
            input_boxes=torch.from_numpy((boxes * scale).astype(np.float32))[None],
            multimask_output=False,
        )
    (embedding,) = ours.segmenter.encode([image])
    masks = ours.segmenter.decode([embedding], [Prompts.from_boxes(boxes)], DecodeOptions(logits=True))[0]
    assert masks.logits is not None
    np.testing.assert_allclose(masks.logits, answer.pred_masks[0, :, 0].numpy(), atol=1e-4)
    np.testing.assert_allclose(masks.scores, answer.iou_scores[0, :, 0].numpy(), atol=1e-4)
