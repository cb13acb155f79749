"""Seeded random weights under the names and in the shapes of the published checkpoints, at any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from samovar_plugins.sam.plugin import Kind
from samovar_plugins.toolkit import Shape, load_tensors, read_header

__all__ = ["MOBILE", "TINY", "Sizes", "random_weights", "saved", "shapes", "two_seeds"]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model. The defaults are the smallest that exercise everything."""

    frame: int = 64
    channels: int = 32  # of the embedding and the tokens
    width: int = 32  # of the encoder
    depth: int = 3
    heads: int = 2
    window: int = 3
    mlp: int = 64  # of the decoder's tokens
    stages: tuple[int, ...] = (16, 24, 24, 32)  # of TinyViT
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    windows: tuple[int, ...] = (7, 7, 3, 3)
    stage_heads: tuple[int, ...] = (2, 2, 2, 2)

    @property
    def grid(self) -> int:
        return self.frame // 16


TINY = Sizes()
MOBILE = Sizes(
    frame=1024,
    channels=256,
    mlp=2048,
    stages=(64, 128, 160, 320),
    blocks=(2, 2, 6, 2),
    windows=(7, 7, 14, 7),
    stage_heads=(2, 4, 5, 10),
)
"""MobileSAM as published."""


def shapes(family: Kind, sizes: Sizes = TINY) -> dict[str, Shape]:
    """Name → shape of every tensor."""
    found: dict[str, Shape] = {}
    if family in ("mobile-sam", "sam-hq-tiny"):
        _tiny_vit(found, sizes)
    else:
        _vit(found, sizes, relative=family != "efficient-sam")
    _decoder(found, sizes, family)
    return found


def random_weights(family: Kind, sizes: Sizes = TINY, seed: int = 0) -> dict[str, Tensor]:
    """Weights whose masks have structure, as trained ones do, and whose predicted IoUs lie between 0 and 1.

    Plain random weights make masks of noise. Here attention is sharp enough for prompts to matter, the four pixels that
    a position is enlarged to are nearly alike, and what makes a mask of features depends little on the prompt.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _random(name, shape, generator) for name, shape in shapes(family, sizes).items()}


def two_seeds(make: Callable[..., dict[str, Tensor]], encoder: int, decoder: int) -> dict[str, Tensor]:
    """Weights by `make(seed=…)`, those that embeddings depend on from one seed and the others from another."""
    ours, theirs = make(seed=encoder), make(seed=decoder)
    fine = tuple(f"mask_decoder.{name}" for name in ("embedding_encoder", "compress_vit_feat"))
    heads = ("image_encoder.", "no_mem_embed", "sam_mask_decoder.conv_s", *fine)
    return {name: (ours if name.startswith(heads) else theirs)[name] for name in ours}


def saved(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are read from `path`, where they are written over what lay there."""
    torch.save(weights, path)
    return load_tensors(path, read_header(path))


def _random(name: str, shape: Shape, generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    module, _, leaf = name.rpartition(".")
    outer = module.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros((), dtype=torch.int64)
    if leaf == "running_var":
        return torch.rand(shape, generator=generator) + 0.5
    if "iou_prediction_head" in name and module.endswith((".2", ".fc")):
        return 0.02 * noise if leaf == "weight" else 0.5 + 0.02 * noise
    if ("hypernetworks" in name or "hf_mlp" in name) and module.endswith((".2", ".fc")):
        return 0.3 * noise if leaf == "bias" else 0.015 * noise / math.sqrt(shape[1])
    if name.startswith("image_encoder.neck.3."):
        return 0.04 * noise
    if leaf == "weight" and len(shape) == 1:
        return 1 + 0.1 * noise
    if leaf in ("bias", "running_mean"):
        return 0.1 * noise
    if len(shape) == 4 and shape[2:] == (2, 2) and "mask_downscaling" not in name:
        mean = noise.mean(dim=(2, 3), keepdim=True) * 2
        return (mean + 0.002 * (noise - mean)) * 2 / math.sqrt(shape[0])
    if "gaussian" in leaf:
        return noise
    if leaf == "weight" and not outer.isdigit() and ("embed" in outer or "token" in outer or "points" in outer):
        return (0.1 if "no_mask" in outer else 0.5) * noise
    if leaf == "weight":
        gain = 1.0
        if "cross_attn" in name or "final_attn" in name:
            gain = 2.0
        return noise * gain / math.sqrt(max(1, math.prod(shape[1:])))
    return 0.2 * noise


def _linear(found: dict[str, Shape], name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
    found[f"{name}.weight"] = (outputs, inputs)
    if bias:
        found[f"{name}.bias"] = (outputs,)


def _norm(found: dict[str, Shape], name: str, channels: int) -> None:
    found[f"{name}.weight"] = found[f"{name}.bias"] = (channels,)


def _convolution(found: dict[str, Shape], name: str, shape: Shape) -> None:
    found[f"{name}.weight"] = shape
    found[f"{name}.bias"] = (shape[0],)


def _transposed(found: dict[str, Shape], name: str, inputs: int, outputs: int) -> None:
    found[f"{name}.weight"] = (inputs, outputs, 2, 2)
    found[f"{name}.bias"] = (outputs,)


def _neck(found: dict[str, Shape], width: int, channels: int) -> None:
    found["image_encoder.neck.0.weight"] = (channels, width, 1, 1)
    _norm(found, "image_encoder.neck.1", channels)
    found["image_encoder.neck.2.weight"] = (channels, channels, 3, 3)
    _norm(found, "image_encoder.neck.3", channels)


def _vit(found: dict[str, Shape], sizes: Sizes, *, relative: bool) -> None:
    top, width, grid = "image_encoder", sizes.width, sizes.grid
    _convolution(found, f"{top}.patch_embed.proj", (width, 3, 16, 16))
    found[f"{top}.pos_embed"] = (1, grid, grid, width) if relative else (1, 197, width)
    for index in range(sizes.depth):
        block = f"{top}.blocks.{index}"
        _norm(found, f"{block}.norm1", width)
        _norm(found, f"{block}.norm2", width)
        _linear(found, f"{block}.attn.qkv", width, 3 * width)
        _linear(found, f"{block}.attn.proj", width, width)
        if relative:
            side = grid if (index + 1) % (sizes.depth // 4 or sizes.depth) == 0 else sizes.window
            for axis in "hw":
                found[f"{block}.attn.rel_pos_{axis}"] = (2 * side - 1, width // sizes.heads)
        lin1, lin2 = ("lin1", "lin2") if relative else ("fc1", "fc2")
        _linear(found, f"{block}.mlp.{lin1}", width, 4 * width)
        _linear(found, f"{block}.mlp.{lin2}", 4 * width, width)
    _neck(found, width, sizes.channels)


def _batch_normed(found: dict[str, Shape], name: str, shape: Shape) -> None:
    found[f"{name}.c.weight"] = shape
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        found[f"{name}.bn.{leaf}"] = (shape[0],)
    found[f"{name}.bn.num_batches_tracked"] = ()


def _tiny_vit(found: dict[str, Shape], sizes: Sizes) -> None:
    top, stages = "image_encoder", sizes.stages
    _batch_normed(found, f"{top}.patch_embed.seq.0", (stages[0] // 2, 3, 3, 3))
    _batch_normed(found, f"{top}.patch_embed.seq.2", (stages[0], stages[0] // 2, 3, 3))
    for number, width in enumerate(stages):
        layer = f"{top}.layers.{number}"
        for index in range(sizes.blocks[number]):
            block = f"{layer}.blocks.{index}"
            if number == 0:
                _batch_normed(found, f"{block}.conv1", (4 * width, width, 1, 1))
                _batch_normed(found, f"{block}.conv2", (4 * width, 1, 3, 3))
                _batch_normed(found, f"{block}.conv3", (width, 4 * width, 1, 1))
                continue
            _norm(found, f"{block}.attn.norm", width)
            _linear(found, f"{block}.attn.qkv", width, 3 * width)
            _linear(found, f"{block}.attn.proj", width, width)
            found[f"{block}.attn.attention_biases"] = (sizes.stage_heads[number], sizes.windows[number] ** 2)
            _batch_normed(found, f"{block}.local_conv", (width, 1, 3, 3))
            _norm(found, f"{block}.mlp.norm", width)
            _linear(found, f"{block}.mlp.fc1", width, 4 * width)
            _linear(found, f"{block}.mlp.fc2", 4 * width, width)
        if number + 1 < len(stages):
            following = stages[number + 1]
            _batch_normed(found, f"{layer}.downsample.conv1", (following, width, 1, 1))
            _batch_normed(found, f"{layer}.downsample.conv2", (following, 1, 3, 3))
            _batch_normed(found, f"{layer}.downsample.conv3", (following, following, 1, 1))
    _norm(found, f"{top}.norm_head", stages[-1])
    _linear(found, f"{top}.head", stages[-1], 1000)
    _neck(found, stages[-1], sizes.channels)


def _attention(found: dict[str, Shape], name: str, channels: int, inner: int) -> None:
    for projection in "qkv":
        _linear(found, f"{name}.{projection}_proj", channels, inner)
    _linear(found, f"{name}.out_proj", inner, channels)


def _decoder(found: dict[str, Shape], sizes: Sizes, family: Kind) -> None:
    channels, efficient, fine = sizes.channels, family == "efficient-sam", family.startswith("sam-hq")
    found["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = (2, channels // 2)
    if efficient:
        for kind in ("invalid_points", "point_embeddings", "bbox_top_left_embeddings", "bbox_bottom_right_embeddings"):
            found[f"prompt_encoder.{kind}.weight"] = (1, channels)
    else:
        for kind in ("point_embeddings.0", "point_embeddings.1", "point_embeddings.2", "point_embeddings.3"):
            found[f"prompt_encoder.{kind}.weight"] = (1, channels)
        found["prompt_encoder.not_a_point_embed.weight"] = found["prompt_encoder.no_mask_embed.weight"] = (1, channels)
        for index, shape in ((0, (4, 1, 2, 2)), (3, (16, 4, 2, 2)), (6, (channels, 16, 1, 1))):
            _convolution(found, f"prompt_encoder.mask_downscaling.{index}", shape)
        _norm(found, "prompt_encoder.mask_downscaling.1", 4)
        _norm(found, "prompt_encoder.mask_downscaling.4", 16)
    transformer = "mask_decoder.transformer"
    for index in range(2):
        layer = f"{transformer}.layers.{index}"
        _attention(found, f"{layer}.self_attn", channels, channels)
        _attention(found, f"{layer}.cross_attn_token_to_image", channels, channels // 2)
        _attention(found, f"{layer}.cross_attn_image_to_token", channels, channels // 2)
        for norm in range(1, 5):
            _norm(found, f"{layer}.norm{norm}", channels)
        _linear(found, f"{layer}.mlp.{'layers.0.0' if efficient else 'lin1'}", channels, sizes.mlp)
        _linear(found, f"{layer}.mlp.{'fc' if efficient else 'lin2'}", sizes.mlp, channels)
    _attention(found, f"{transformer}.final_attn_token_to_image", channels, channels // 2)
    _norm(found, f"{transformer}.norm_final_attn", channels)
    found["mask_decoder.iou_token.weight"] = (1, channels)
    found["mask_decoder.mask_tokens.weight"] = (4, channels)
    up = "mask_decoder.final_output_upscaling_layers" if efficient else "mask_decoder.output_upscaling"
    _transposed(found, f"{up}.0.0" if efficient else f"{up}.0", channels, channels // 4)
    _norm(found, f"{up}.0.1" if efficient else f"{up}.1", channels // 4)
    _transposed(found, f"{up}.1.0" if efficient else f"{up}.3", channels // 4, channels // 8)
    for index in range(4):
        _head(found, f"mask_decoder.output_hypernetworks_mlps.{index}", channels, channels // 8, efficient)
    _head(found, "mask_decoder.iou_prediction_head", channels, 4, efficient)
    if fine:
        _fine(found, channels, sizes.stages[2] if family == "sam-hq-tiny" else sizes.width)


def _head(found: dict[str, Shape], name: str, channels: int, outputs: int, efficient: bool) -> None:
    suffix = ".0" if efficient else ""
    _linear(found, f"{name}.layers.0{suffix}", channels, channels)
    _linear(found, f"{name}.layers.1{suffix}", channels, channels)
    _linear(found, f"{name}.fc" if efficient else f"{name}.layers.2", channels, outputs)


def _fine(found: dict[str, Shape], channels: int, early: int) -> None:
    top = "mask_decoder"
    found[f"{top}.hf_token.weight"] = (1, channels)
    _head(found, f"{top}.hf_mlp", channels, channels // 8, efficient=False)
    for name, inputs, middle in (
        ("compress_vit_feat", early, channels),
        ("embedding_encoder", channels, channels // 4),
    ):
        _transposed(found, f"{top}.{name}.0", inputs, middle)
        _norm(found, f"{top}.{name}.1", middle)
        _transposed(found, f"{top}.{name}.3", middle, channels // 8)
    _convolution(found, f"{top}.embedding_maskfeature.0", (channels // 4, channels // 8, 3, 3))
    _norm(found, f"{top}.embedding_maskfeature.1", channels // 4)
    _convolution(found, f"{top}.embedding_maskfeature.3", (channels // 8, channels // 4, 3, 3))


def nbytes(tensors: Mapping[str, Tensor]) -> int:
    """Of all tensors."""
    return sum(tensor.nbytes for tensor in tensors.values())
