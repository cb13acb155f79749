"""SAM 2's answers are those of transformers' own model on the same weights, in a folder as Hugging Face lays it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason='comparing with transformers needs it; pip install "samovar[sam3]"')

import torch
from safetensors.torch import save_file
from transformers import Sam2Config, Sam2Model

from samovar import Image
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.sam2.decoder import build_sam2
from samovar_plugins.sam2.plugin import convert_name
from samovar_plugins.toolkit import SamSegmenter, StateDict, convert_state_dict, load_tensors, read_header
from tests.plugins.sam2.weights import SMALLEST, TINY

BOX = (60.0, 80.0, 420.0, 360.0)


@pytest.fixture(scope="module")
def published() -> Any:
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "blocks_per_stage": list(SMALLEST.stages),
        "window_size_per_stage": list(SMALLEST.windows),
        "global_attention_blocks": list(SMALLEST.everywhere),
        "window_positional_embedding_background_size": [3, 3],
    }
    model = Sam2Model(
        Sam2Config(
            vision_config={
                "backbone_config": backbone,
                "backbone_channel_list": [64, 32, 16, 8],
                "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
                "fpn_hidden_size": 32,
            },
            prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 16},
            mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 32},
        )
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.ndim >= 2:
            fan = tensor[0].numel() if tensor.shape[0] > 1 else 10
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan**0.5)
        elif name.endswith("bias"):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    shared = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return model


@pytest.fixture(scope="module")
def ours(published: Any, tmp_path_factory: pytest.TempPathFactory) -> SamSegmenter:
    folder = tmp_path_factory.mktemp("sam2")
    save_file(
        {name: tensor.contiguous() for name, tensor in published.state_dict().items()}, folder / "model.safetensors"
    )
    tensors = convert_state_dict(load_tensors(folder, read_header(folder)), convert_name)
    with torch.inference_mode():
        parts = build_sam2(SMALLEST, StateDict(tensors), TINY.frame)
    return SamSegmenter(parts, fingerprint="tiny", device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("multimask_output", [True, False])
def test_answers_are_transformers_own(ours: SamSegmenter, published: Any, photo: Path, multimask_output: bool) -> None:
    picture = Image(photo)
    whole = torch.from_numpy(np.array(picture.pixels)).permute(2, 0, 1)[None].float() / 255
    small = torch.nn.functional.interpolate(whole, (64, 64), mode="bilinear", antialias=True)
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    boxes = np.array(BOX) * ([64 / picture.width, 64 / picture.height] * 2)
    with torch.inference_mode():
        out = published(
            pixel_values=(small - mean) / deviation,
            input_boxes=torch.tensor(boxes, dtype=torch.float32)[None, None],
            multimask_output=multimask_output,
        )
    (masks,) = ours.decode(
        ours.encode([picture]), [Prompts.of([Prompt(box=BOX)])], DecodeOptions(multimask=multimask_output, logits=True)
    )
    order = out.iou_scores[0, 0].argsort(descending=True)
    assert masks.logits is not None
    assert np.abs(masks.scores - out.iou_scores[0, 0][order].numpy()).max() <= 1e-4
    assert np.abs(masks.logits - out.pred_masks[0, 0][order].clamp(-32, 32).numpy()).max() <= 1e-4
