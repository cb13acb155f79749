"""SAM 3's tracker: on images, SAM 2's prompt encoder and decoder on a neck of their own; in videos, SAM 2's memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Sam3TrackerVideoConfig
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
    Sam3TrackerVideoInferenceSession,
    Sam3TrackerVideoModel,
)

from samovar_plugins.sam2 import MemoryTracker, components, session_of, with_weights
from samovar_plugins.toolkit import SamComponents, SamSegmenter, StateDict, Stretch, Weights

if TYPE_CHECKING:
    from samovar.protocols import EmbeddingCache

__all__ = ["Sam3Encoder", "build_tracker", "memory_tracker"]

HALF = (0.5, 0.5, 0.5)


def build_tracker(trunk: Callable[[Tensor], Tensor], weights: Weights, image_size: int, patch: int) -> SamComponents:
    """The networks that answer points, boxes and masks.

    Args:
        trunk: B×3×S×S pixels → B×D×h×w features, which the detector uses too.
        weights: the tracker's tensors under SAM 2's names, and its neck's under their own.
        image_size: side of the square that the trunk takes.
        patch: pixels from one of its features to the next.
    """
    resize = Stretch(image_size, antialias=True, mode="bilinear", rounded=True, mean=HALF, deviation=HALF)
    return components(Sam3Encoder(trunk, weights.state, image_size), weights.state, weights.resize(resize), patch)


class Sam3Encoder:
    """See `Encoder`: "trunk" B×D×h×w for the detector, and what `Sam2Decoder` takes, for points, boxes and masks.

    Args:
        trunk: see `build_tracker`.
        state: the tracker's tensors under SAM 2's names, and its neck's under their own.
        image_size: side of the square.
    """

    def __init__(self, trunk: Callable[[Tensor], Tensor], state: StateDict, image_size: int) -> None:
        self.image_size = image_size
        self._trunk = trunk
        exact = state.float32()
        layers, decoder = exact.at("tracker_neck.fpn_layers"), exact.at("sam_mask_decoder")
        self._levels = [_Level(layers.at(index), state.dtype) for index in range(3)]
        no_memory = exact.tensor("no_mem_embed").flatten()
        for level, name in zip(self._levels, ("conv_s0", "conv_s1")):
            level.follow(decoder.tensor(f"{name}.weight").flatten(1), decoder.tensor(f"{name}.bias"))
        self._levels[2].follow(torch.eye(len(no_memory), device=state.device), no_memory)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Encoder`."""
        trunk = self._trunk(images)
        fine, middle, image = (level(trunk) for level in self._levels)
        return {"image": image, "middle": middle, "fine": fine, "trunk": trunk}


class _Level:
    """One resolution of the neck; the 1×1 convolution that the decoder applies to it is part of its last one."""

    def __init__(self, state: StateDict, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._up = [
            (state.tensor(f"scale_layers.{at}.weight").to(dtype), state.tensor(f"scale_layers.{at}.bias").to(dtype))
            for at in (0, 2)
            if state.has(f"scale_layers.{at}.weight")
        ]
        self._first = state.tensor("proj1.weight").to(dtype), state.tensor("proj1.bias").to(dtype)
        self._last = state.tensor("proj2.weight"), state.tensor("proj2.bias")

    def follow(self, weight: Tensor, bias: Tensor) -> None:
        """Let a 1×1 convolution (out×in and out) come last."""
        inner, inner_bias = (tensor.double() for tensor in self._last)
        chained = torch.einsum("oi,icyx->ocyx", weight.double(), inner)
        moved = weight.double() @ inner_bias + bias.double()
        self._last = chained.to(self._dtype), moved.to(self._dtype)

    def __call__(self, x: Tensor) -> Tensor:
        for number, (weight, bias) in enumerate(self._up):
            x = functional.conv_transpose2d(functional.gelu(x) if number else x, weight, bias, stride=2)
        return functional.conv2d(functional.conv2d(x, *self._first), *self._last, padding=1)


def memory_tracker(
    folder: Path,
    load: Callable[[str], Mapping[str, Tensor]],
    encoder: SamSegmenter,
    cache: EmbeddingCache | None = None,
) -> MemoryTracker:
    """A tracker from the part of a checkpoint that is not the encoder.

    Args:
        folder: where the configuration is, unless it is the published one.
        load: reads the tensors of that prefix, under Hugging Face's names.
        encoder: the segmenter of the same weights, which encodes frames.
        cache: what frames are encoded through.

    Raises:
        WeightsError: a tensor is missing, or of another shape.
    """
    own = (folder / "config.json").is_file()
    config = Sam3TrackerVideoConfig.from_pretrained(str(folder)) if own else Sam3TrackerVideoConfig()
    model = Sam3TrackerVideoModel(config, remove_vision_encoder=True)
    model = with_weights(model, load("tracker_model."), "tracker_model.{}".format, encoder)
    session = session_of(Sam3TrackerVideoInferenceSession, encoder)
    return MemoryTracker(model, session, encoder, cache)
