"""Inpainting pipelines of several families with random weights: their published architectures, only very small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

__all__ = ["BUILDERS", "SIDE", "flux_fill", "safety_checker"]

SIDE = 64
"""What the tiny pipelines call their native size, in pixels."""

_WIDTH = 32


def sd15(folder: Path) -> Any:
    torch.manual_seed(0)
    return diffusers.StableDiffusionInpaintPipeline(
        vae=_vae(),
        text_encoder=transformers.CLIPTextModel(_clip_text()),
        tokenizer=_tokenizer(folder),
        unet=_unet(in_channels=9, cross_attention_dim=_WIDTH),
        scheduler=_ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(folder: Path) -> Any:
    torch.manual_seed(0)
    tokenizer = _tokenizer(folder)
    return diffusers.StableDiffusionXLInpaintPipeline(
        vae=_vae(),
        text_encoder=transformers.CLIPTextModel(_clip_text(projection_dim=_WIDTH)),
        text_encoder_2=transformers.CLIPTextModelWithProjection(_clip_text(projection_dim=_WIDTH)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_unet(
            in_channels=4,
            cross_attention_dim=2 * _WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 1),
            projection_class_embeddings_input_dim=_WIDTH + 6 * 8,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
    )


def kandinsky22(folder: Path) -> Any:
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=SIDE // 8,
        in_channels=9,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(_WIDTH, 2 * _WIDTH),
        layers_per_block=1,
        encoder_hid_dim=_WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=_WIDTH,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    )
    movq = diffusers.VQModel(
        block_out_channels=(_WIDTH, _WIDTH, _WIDTH, 2 * _WIDTH),
        down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        num_vq_embeddings=12,
        vq_embed_dim=4,
        norm_type="spatial",
    )
    return diffusers.KandinskyV22InpaintPipeline(unet, _ddim(), movq)


def controlnet(folder: Path) -> Any:
    torch.manual_seed(0)
    whole = sd15(folder)
    unet = _unet(in_channels=4, cross_attention_dim=_WIDTH)
    return diffusers.StableDiffusionControlNetInpaintPipeline(
        vae=whole.vae,
        text_encoder=whole.text_encoder,
        tokenizer=whole.tokenizer,
        unet=unet,
        controlnet=diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 32, 32)),
        scheduler=_ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd3(folder: Path) -> Any:
    torch.manual_seed(0)
    tokenizer = _tokenizer(folder)
    return diffusers.StableDiffusion3InpaintPipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=SIDE // 8,
            patch_size=2,
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=_WIDTH,
            joint_attention_dim=2 * _WIDTH,
            pooled_projection_dim=2 * _WIDTH,
            out_channels=16,
        ),
        vae=_vae(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        text_encoder=transformers.CLIPTextModelWithProjection(_clip_text(projection_dim=_WIDTH)),
        tokenizer=tokenizer,
        text_encoder_2=transformers.CLIPTextModelWithProjection(_clip_text(projection_dim=_WIDTH)),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(),
        tokenizer_3=_t5_tokenizer(),
    )


def flux_fill(folder: Path) -> Any:
    torch.manual_seed(0)
    return diffusers.FluxFillPipeline(
        # The latents, those of the masked image, and the mask: packed two by two.
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16 * 4 * 2 + 8 * 8 * 4,
            out_channels=16 * 4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=2 * _WIDTH,
            pooled_projection_dim=_WIDTH,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
        vae=_vae(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        text_encoder=transformers.CLIPTextModel(_clip_text()),
        tokenizer=_tokenizer(folder),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
    )


BUILDERS = {"sd15": sd15, "sdxl": sdxl, "sd3": sd3, "kandinsky22": kandinsky22, "controlnet": controlnet}


def safety_checker() -> tuple[Any, Any]:
    """A random safety checker that refuses everything, and the feature extractor it needs."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config=_clip_text().to_dict(),
        vision_config={
            "hidden_size": _WIDTH,
            "intermediate_size": 37,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 16,
            "projection_dim": _WIDTH,
        },
        projection_dim=_WIDTH,
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(-2.0)  # every cosine distance is above it
    size = {"height": 32, "width": 32}
    return checker, transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)


def _ddim() -> Any:
    """As Stable Diffusion 1.5's is configured."""
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _vae(**given: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(_WIDTH,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
        sample_size=SIDE,
        **{"latent_channels": 4, **given},
    )


def _unet(**given: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        block_out_channels=(_WIDTH, 2 * _WIDTH),
        layers_per_block=1,
        sample_size=SIDE // 8,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=8,
        **given,
    )


def _clip_text(**given: Any) -> Any:
    return transformers.CLIPTextConfig(
        bos_token_id=0,
        eos_token_id=2,
        hidden_size=_WIDTH,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        pad_token_id=1,
        vocab_size=1000,
        **given,
    )


def _t5() -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=64,
            d_model=2 * _WIDTH,
            d_kv=8,
            d_ff=37,
            num_layers=1,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )


def _t5_tokenizer() -> Any:
    """T5's tokenizer over single letters."""
    letters = [(letter, -3.0) for letter in "\N{LOWER ONE EIGHTH BLOCK}abcdefghijklmnopqrstuvwxyz"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=77)


def _tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer over single letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<pad>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(
        folder, model_max_length=77, bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )
