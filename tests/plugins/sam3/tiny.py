"""A tiny SAM 3 with random weights, in a folder as Hugging Face lays it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import Sam3VideoConfig, Sam3VideoModel

from samovar_plugins.sam3.plugin import FAMILY
from samovar_plugins.sam3.segmenter import Sam3Segmenter

__all__ = ["WORDS", "loaded", "reference", "save"]

WORDS = ("a", "bright", "thing", "rectangle", "background", "visual", "of")

VISION = {
    "backbone_config": {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 112,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    },
    "fpn_hidden_size": 32,
    "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
DETECTOR = {
    "vision_config": VISION,
    "text_config": {
        **SMALL,
        "vocab_size": 16,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "max_position_embeddings": 32,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    },
    "geometry_encoder_config": {"num_layers": 1, **SMALL},
    "detr_encoder_config": {"num_layers": 2, **SMALL},
    "detr_decoder_config": {"num_layers": 2, "num_queries": 20, **SMALL},
    "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
}
TRACKER = {
    "vision_config": VISION,
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 112, "patch_size": 14},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 32},
    "image_size": 112,
    "memory_attention_hidden_size": 32,
    "memory_attention_feed_forward_hidden_size": 64,
    "memory_encoder_hidden_size": 32,
    "mask_downsampler_embed_dim": 32,
    "memory_fuser_embed_dim": 32,
    "memory_fuser_intermediate_dim": 64,
}


def reference(seed: int = 0, width: int = 32) -> Any:
    """transformers' own model, with weights large enough for prompts to matter.

    Args:
        width: of its layers; the attention to memory takes more than 64.
    """
    torch.manual_seed(seed)
    detector, tracker = (json.loads(json.dumps(part).replace(": 32", f": {width}")) for part in (DETECTOR, TRACKER))
    model = Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=tracker)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim >= 2:
                fan = tensor[0].numel() if tensor.shape[0] > 1 else 1
                tensor.copy_(noise / fan**0.5 * (2 if "attn" in name else 1))
            elif name.endswith("bias"):
                tensor.copy_(0.1 * noise)
        shared = model.tracker_model.shared_image_embedding.positional_embedding
        shared.copy_(torch.randn(shared.shape, generator=generator))
        model.tracker_model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return model


def save(model: Any, folder: Path) -> Path:
    """Write the model under the published names, and a tokenizer of `WORDS`.

    Not by save_pretrained: transformers 5.23 writes the tracker's names with their prefix doubled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    vocabulary = {"<start>": 0, "<end>": 1, "<unknown>": 2, **{word: 3 + i for i, word in enumerate(WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<start> $A <end>", None, [("<start>", 0), ("<end>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def loaded(path: Path) -> Sam3Segmenter:
    """What SAM 3's loader makes of a folder or file."""
    made = FAMILY.load("sam3", weights=str(path), device="cpu", dtype="float32")
    assert isinstance(made, Sam3Segmenter)
    return made
