"""Seeded random weights of SAM 2 under Meta's names, at any size, and tiny models made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from samovar.prompts import Prompts
from samovar.testing.scenes import scene
from samovar_plugins.sam2.decoder import build_sam2
from samovar_plugins.sam2.plugin import Layout
from samovar_plugins.toolkit import SamSegmenter, Shape, Skips, StateDict, Upscaler, assemble, group_prompts
from tests.plugins.sam.weights import Sizes as SamSizes
from tests.plugins.sam.weights import shapes as sam_shapes

__all__ = ["TINY", "Sizes", "centred", "head_shapes", "random_weights", "shapes", "structured", "tiny"]


BOXES = 16

SMALLEST = Layout((1, 2, 3, 1), 1, (4, 2, 6, 3), (4,))


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model. The defaults are the smallest that exercise everything."""

    frame: int = 64
    channels: int = 32
    width: int = 8
    layout: Layout = SMALLEST
    background: int = 3
    mlp: int = 64


TINY = Sizes()
"""Its third stage has a 4×4 map and windows of 6, so that windows stick out, as in the published models."""


def shapes(sizes: Sizes = TINY) -> dict[str, Shape]:
    """Name → shape of every tensor for images."""
    found: dict[str, Shape] = {}
    top, width = "image_encoder.trunk", sizes.width
    _layer(found, f"{top}.patch_embed.proj", (width, 3, 7, 7))
    found[f"{top}.pos_embed"] = (1, width, sizes.background, sizes.background)
    found[f"{top}.pos_embed_window"] = (1, width, sizes.layout.windows[0], sizes.layout.windows[0])
    number, inputs = 0, width
    for stage, count in enumerate(sizes.layout.stages):
        outputs = width << stage
        for _ in range(count):
            block = f"{top}.blocks.{number}"
            _layer(found, f"{block}.norm1", (inputs,))
            _layer(found, f"{block}.norm2", (outputs,))
            _layer(found, f"{block}.attn.qkv", (3 * outputs, inputs))
            _layer(found, f"{block}.attn.proj", (outputs, outputs))
            _layer(found, f"{block}.mlp.layers.0", (4 * outputs, outputs))
            _layer(found, f"{block}.mlp.layers.1", (outputs, 4 * outputs))
            if inputs != outputs:
                _layer(found, f"{block}.proj", (outputs, inputs))
            number, inputs = number + 1, outputs
    return {**found, **head_shapes([width << stage for stage in (3, 2, 1, 0)], sizes.channels, sizes.mlp)}


def head_shapes(maps: list[int], channels: int = 32, mlp: int = 64) -> dict[str, Shape]:
    """Neck, prompt encoder and decoder, for maps of that many channels, coarsest first."""
    found: dict[str, Shape] = {"no_mem_embed": (1, 1, channels)}
    for index, count in enumerate(maps):
        _layer(found, f"image_encoder.neck.convs.{index}.conv", (channels, count, 1, 1))
    for name, shape in sam_shapes("sam", SamSizes(channels=channels, mlp=mlp)).items():
        if not name.startswith("image_encoder."):
            found[f"sam_{name}".replace(".mlp.lin1.", ".mlp.layers.0.").replace(".mlp.lin2.", ".mlp.layers.1.")] = shape
    top = "sam_mask_decoder"
    found[f"{top}.obj_score_token.weight"] = (1, channels)
    _layer(found, f"{top}.conv_s0", (channels // 8, channels, 1, 1))
    _layer(found, f"{top}.conv_s1", (channels // 4, channels, 1, 1))
    for index, outputs in enumerate((channels, channels, 1)):
        _layer(found, f"{top}.pred_obj_score_head.layers.{index}", (outputs, channels))
    return found


def _layer(found: dict[str, Shape], name: str, shape: Shape) -> None:
    found[f"{name}.weight"] = shape
    found[f"{name}.bias"] = shape[:1]


def random_weights(sizes: Sizes = TINY, seed: int = 0) -> dict[str, Tensor]:
    """See `structured`."""
    return structured(shapes(sizes), seed)


def structured(wanted: dict[str, Shape], seed: int = 0) -> dict[str, Tensor]:
    """Weights whose masks have structure, as trained ones do, and whose predicted IoUs differ."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _random(name, shape, generator) for name, shape in wanted.items()}


def _random(name: str, shape: Shape, generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if name.endswith("running_var"):
        return torch.rand(shape, generator=generator) + 0.5
    if name.endswith((".bias", "running_mean")):
        return 0.1 * noise
    if "hypernetworks" in name and ".layers.2." in name:
        # Vectors that sum to zero: features are positive on average, and masks would be all or nothing.
        return 2 * (noise - noise.mean(dim=0)) / math.sqrt(shape[1])
    if "output_upscaling" in name and len(shape) == 4:
        mean = noise.mean(dim=(2, 3), keepdim=True) * 2
        return (mean + 0.05 * (noise - mean)) * 2 / math.sqrt(shape[0])
    if len(shape) == 1:
        return 1 + 0.1 * noise
    if "gaussian" in name:
        return noise
    if "embed" in name and "patch" not in name:
        return 0.3 * noise
    gain = 2.0 if "cross_attn" in name or "final_attn" in name else 1.0
    return gain * noise / math.sqrt(max(1, math.prod(shape[1:])))


def centred(sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """`random_weights`, with the vectors that make masks orthogonal to the mean features that they are multiplied by.

    Random features have a mean far larger than their variation over the image, so that random masks are all or
    nothing. The means for a few boxes are measured on a made-up picture; what is left varies around zero.
    """
    weights = random_weights(sizes, seed)
    means: list[Tensor] = []

    def watch(upscaler: Upscaler, image: Tensor, skips: Skips | None = None) -> Tensor:
        found = plain(upscaler, image, skips)
        means.append(found.mean(dim=(0, 1)))
        return found

    plain = Upscaler.features
    Upscaler.features = watch  # type: ignore[method-assign,assignment]
    try:
        with torch.inference_mode():
            parts = build_sam2(sizes.layout, StateDict(weights), sizes.frame)
            frames = parts.resize.pixels(scene(640, 480))[None]
            shared = parts.decoder.share(
                {name: found[0] for name, found in parts.encoder(frames).items()}, None, many_prompts=False
            )
            corners = np.sort(np.random.default_rng(seed).uniform(0, 1, (BOXES, 2, 2)) * [640, 480], axis=1)
            (group,) = group_prompts(Prompts.from_boxes(corners.reshape(-1, 4)), parts.resize.scale(640, 480))
            parts.decoder(shared, parts.prompts.tokens(group), multimask_output=True, best_only=False)
    finally:
        Upscaler.features = plain  # type: ignore[method-assign]
    each = torch.stack(means).unflatten(0, (BOXES, -1)).mean(dim=1)
    common = torch.linalg.svd(each, full_matrices=False)[2][: each.shape[1] // 4]
    for index in range(4):
        for leaf in ("weight", "bias"):
            name = f"sam_mask_decoder.output_hypernetworks_mlps.{index}.layers.2.{leaf}"
            weights[name] = weights[name] - common.T @ (common @ weights[name])
    return weights


def tiny_of(weights: dict[str, Tensor]) -> SamSegmenter:
    """A segmenter of such weights."""
    made = assemble("sam2", lambda given: build_sam2(TINY.layout, given.state, TINY.frame), weights)
    assert isinstance(made, SamSegmenter)
    return made


@cache
def tiny() -> SamSegmenter:
    """A segmenter with random weights."""
    return tiny_of(random_weights())
