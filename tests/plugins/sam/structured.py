"""Random weights whose masks look like masks: blobs that depend on the image and on the prompt."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar.prompts import Prompts
from samovar.testing.scenes import scene
from samovar_plugins.sam.catalogue import Family
from samovar_plugins.sam.layers import State
from samovar_plugins.sam.networks import build
from samovar_plugins.sam.prompts import group_prompts
from samovar_plugins.sam.upscale import Upscaler
from tests.plugins.sam.weights import Sizes, random_weights

__all__ = ["roughness", "structured_weights"]

PROMPTS = 32


def structured_weights(family: Family, sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """`random_weights`, with the vectors that make masks orthogonal to the mean features that they are multiplied by.

    Random features have a mean far larger than their variation over the image, so that random masks are all or
    nothing. The means for a few prompts are measured on a made-up picture; what is left varies around zero.
    """
    weights = random_weights(family, sizes, seed)
    features: list[Tensor] = []

    def watch(upscaler: Upscaler, image: Tensor, *_: object) -> Tensor:
        found = plain(upscaler, image)
        features.append(found.mean(dim=(0, 1)))
        return found

    plain = Upscaler.features
    Upscaler.features = watch  # type: ignore[method-assign,assignment]
    try:
        with torch.inference_mode():
            parts = build(family, State(weights), sizes.frame)
            picture = scene(640, 480)
            tensors = {name: tensor[0] for name, tensor in parts.encoder(parts.frame.pixels(picture)[None]).items()}
            corners = np.random.default_rng(seed).uniform(0, 1, (PROMPTS, 2, 2)) * [640, 480]
            boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
            (group,) = group_prompts(Prompts.from_boxes(boxes), parts.frame.scale(640, 480))
            parts.decoder(parts.decoder.share(tensors, None), parts.prompts.tokens(group), several=False, best=False)
    finally:
        Upscaler.features = plain  # type: ignore[method-assign]
    means = torch.stack(features).unflatten(0, (PROMPTS, -1)).mean(dim=1)
    common = torch.linalg.svd(means, full_matrices=False)[2][: means.shape[1] // 4]
    last = "fc" if family == "efficient-sam" else "layers.2"
    for head in [f"output_hypernetworks_mlps.{index}" for index in range(4)]:
        weight, bias = (f"mask_decoder.{head}.{last}.{leaf}" for leaf in ("weight", "bias"))
        weights[weight] = weights[weight] - common.T @ (common @ weights[weight])
        weights[bias] = weights[bias] - common.T @ (common @ weights[bias])
    return weights


def roughness(logits: NDArray[np.float32]) -> float:
    """How much neighbouring logits of N×h×w differ, beside how much logits differ at all: 1.4 for noise, 0 if flat."""
    steps = np.diff(logits, axis=1)
    return float(steps.std() / logits.std())
