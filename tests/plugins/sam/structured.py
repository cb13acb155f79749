"""Random weights whose masks look like masks: blobs that depend on the image and on the prompt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samovar.prompts import Prompts
from samovar.testing.scenes import scene
from samovar_plugins.sam.plugin import Kind, build_sam
from samovar_plugins.toolkit import SamComponents, StateDict, Upscaler, group_prompts
from tests.plugins.sam.weights import Sizes, random_weights

__all__ = ["object_like", "roughness", "structured_weights"]

PROMPTS = 32
HIGH_QUALITY = 0.2
"""What the vector of SAM-HQ's own token is multiplied by: its features vary five times as much as SAM's."""


def structured_weights(family: Kind, sizes: Sizes, seed: int = 0, *, objects: bool = False) -> dict[str, Tensor]:
    """`random_weights`, or `object_like` ones, whose mask-making vectors are orthogonal to the mean features.

    Random features have a mean far larger than their variation over the image, so that random masks are all or
    nothing. The means for a few prompts are measured on a made-up picture; what is left varies around zero.
    """
    weights = random_weights(family, sizes, seed)
    if objects:
        weights = object_like(weights, seed)
    features: list[Tensor] = []

    def watch(upscaler: Upscaler, image: Tensor, *_: object) -> Tensor:
        found = plain(upscaler, image)
        features.append(found.mean(dim=(0, 1)))
        return found

    plain = Upscaler.features
    Upscaler.features = watch  # type: ignore[method-assign,assignment]
    try:
        with torch.inference_mode():
            parts = build_sam(family, StateDict(weights), sizes.frame)
            picture = scene(640, 480)
            tensors = {name: tensor[0] for name, tensor in parts.encoder(parts.resize.pixels(picture)[None]).items()}
            corners = np.random.default_rng(seed).uniform(0, 1, (PROMPTS, 2, 2)) * [640, 480]
            boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
            (group,) = group_prompts(Prompts.from_boxes(boxes), parts.resize.scale(640, 480))
            tokens = parts.prompts.tokens(group)
            _decoded(parts, tensors, tokens)
    finally:
        Upscaler.features = plain  # type: ignore[method-assign]
    means = torch.stack(features).unflatten(0, (PROMPTS, -1)).mean(dim=1)
    common = torch.linalg.svd(means, full_matrices=False)[2][: means.shape[1] // 4]
    last = "fc" if family == "efficient-sam" else "layers.2"
    for head in [f"output_hypernetworks_mlps.{index}" for index in range(4)]:
        weight, bias = (f"mask_decoder.{head}.{last}.{leaf}" for leaf in ("weight", "bias"))
        weights[weight] = weights[weight] - common.T @ (common @ weights[weight])
        weights[bias] = weights[bias] - common.T @ (common @ weights[bias])
    if family in ("sam-hq", "sam-hq-tiny"):
        _balance(weights, lambda trial: _decoded(build_sam(family, StateDict(trial), sizes.frame), tensors, tokens[:8]))
    return weights


def _decoded(parts: SamComponents, tensors: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """One mask's logits a prompt."""
    with torch.inference_mode():
        shared = parts.decoder.share(tensors, None, many_prompts=False)
        return parts.decoder(shared, tokens, multimask_output=False, best_only=False).logits


def _balance(weights: dict[str, Tensor], logits: Callable[[dict[str, Tensor]], Tensor]) -> None:
    """Change the high-quality token's vector so that what it adds to SAM's logits varies around zero, and as they do.

    Logits are linear in the vector: of two, the mixture is taken whose logits have no mean.
    """
    weight, bias = (f"mask_decoder.hf_mlp.layers.2.{leaf}" for leaf in ("weight", "bias"))
    one, other = weights[bias], weights[bias].roll(1)
    constant = {**weights, weight: torch.zeros_like(weights[weight])}
    first, second = (logits({**constant, bias: vector}).mean() for vector in (one, other))
    mixture = second * one - first * other
    weights[bias] = HIGH_QUALITY * one.norm() / mixture.norm() * mixture
    weights[weight] = HIGH_QUALITY * weights[weight]


def object_like(weights: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Weights changed so that masks follow the image's own regions, as trained ones do.

    Patches are seen by their colours, places differ little, and what prompts write to the image does not drown it.
    """
    generator = torch.Generator().manual_seed(seed)
    found = dict(weights)
    for name, tensor in weights.items():
        if name == "image_encoder.patch_embed.proj.weight":
            found[name] = tensor.mean(dim=(2, 3), keepdim=True) + 0.05 * tensor
        elif name == "image_encoder.pos_embed" and tensor.ndim == 4:
            coarse = 0.2 * torch.randn(1, tensor.shape[3], 4, 4, generator=generator)
            found[name] = functional.interpolate(coarse, tensor.shape[1:3], mode="bicubic").permute(0, 2, 3, 1)
        elif name.startswith("image_encoder.blocks.") and name.endswith(("proj.weight", "lin2.weight")):
            found[name] = 0.3 * tensor
        elif name.startswith("image_encoder.neck.3."):
            noise = torch.randn(tensor.shape, generator=generator)
            found[name] = 3 + 0.3 * noise if name.endswith("weight") else 0.3 * noise
        elif "_attn" in name and "q_proj" in name and "self_attn" not in name:
            found[name] = 0.1 * tensor
        elif name.endswith("cross_attn_image_to_token.out_proj.weight"):
            found[name] = 0.3 * tensor
    return {name: tensor.contiguous() for name, tensor in found.items()}


def roughness(logits: NDArray[np.float32]) -> float:
    """How much neighbouring logits of N×h×w differ, beside how much logits differ at all: 1.4 for noise, 0 if flat."""
    steps = np.diff(logits, axis=1)
    return float(steps.std() / logits.std())
