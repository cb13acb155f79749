"""EdgeTAM from a folder that Hugging Face's `transformers` saved, against its own forward pass. Full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("timm", reason="nox -s reference installs the packages to compare with")
pytest.importorskip("transformers", reason="nox -s reference installs the packages to compare with")

import torch
from safetensors.torch import save_file
from transformers import EdgeTamConfig, EdgeTamModel, EdgeTamVisionConfig, TimmWrapperConfig

import samovar
from samovar import Prompts
from samovar.plugins import find_segmenter
from samovar.protocols import DecodeOptions
from samovar_plugins.toolkit import Stretch
from tests.reference.support import aspects


@pytest.fixture(scope="module")
def reference() -> Any:
    """The published architecture with random weights, spread so that prompts matter."""
    arguments = {"in_chans": 3, "features_only": True, "out_indices": (0, 1, 2, 3)}
    backbone = TimmWrapperConfig(architecture="repvit_m1", model_args=arguments)
    model = EdgeTamModel(EdgeTamConfig(vision_config=EdgeTamVisionConfig(backbone_config=backbone))).eval()
    assert sum(tensor.numel() for tensor in model.parameters()) == find_segmenter("edge-tam").parameters
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif name.endswith(("bias", "running_mean")):
                tensor.copy_(0.1 * noise)
            elif "positional_embedding" in name:
                tensor.copy_(noise)
            elif tensor.ndim >= 2:
                # The encoder's many blocks add up: at full gain its features grow a hundred thousand times.
                gain = 0.5 if "backbone" in name else 1.0
                tensor.copy_(gain * noise / max(1, tensor[0].numel()) ** 0.5)
        shared = model.shared_image_embedding.positional_embedding
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return model


@pytest.mark.parametrize("several", [False, True])
def test_answers_are_those_of_transformers(reference: Any, tmp_path: Path, data_folder: Path, several: bool) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in reference.state_dict().items()}, tmp_path / "model.safetensors"
    )
    ours = samovar.load(tmp_path, device="cpu", cache="off")
    assert ours.name == "edge-tam"
    resize = Stretch(1024, antialias=True, mode="bilinear")
    for image in aspects(data_folder):
        boxes = np.array([[0.1, 0.1, 0.6, 0.7], [0.3, 0.2, 0.9, 0.5], [0.5, 0.6, 0.8, 0.95]])
        boxes = boxes * np.tile([image.width, image.height], 2)
        scaled = (boxes * np.tile(resize.scale(image.width, image.height), 2)).astype(np.float32)
        with torch.inference_mode():
            answer = reference(
                pixel_values=resize.pixels(image)[None],
                input_boxes=torch.from_numpy(scaled)[None],
                multimask_output=several,
            )
        (embedding,) = ours.segmenter.encode([image])
        options = DecodeOptions(multimask=several, logits=True)
        masks = ours.segmenter.decode([embedding], [Prompts.from_boxes(boxes)], options)[0]
        order = answer.iou_scores[0].argsort(dim=1, descending=True)
        ious = answer.iou_scores[0].gather(1, order).flatten()
        logits = torch.stack([row[at] for row, at in zip(answer.pred_masks[0], order)]).flatten(0, 1).clamp(-32, 32)
        assert masks.logits is not None
        assert np.ptp(masks.logits) > 0.1, "the masks are flat"
        np.testing.assert_allclose(masks.logits, logits.numpy(), atol=1e-4)
        np.testing.assert_allclose(masks.scores, ious.numpy(), atol=1e-4)
