"""EdgeTAM's networks: RepViT as SAM 2's encoder, and SAM 2's memory shortened by a Perceiver.

RepViT is a convolutional network in the shape of a light transformer (2023), here with its parallel branches merged. In
training each depthwise convolution is the sum of a 3×3, a 1×1 and the identity, each normalised by its statistics. All
of these are linear, so here they are one 3×3 convolution; every other normalisation is folded into the convolution
before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam2 import MemoryTracker, VideoFamily, convert_video_name, named
from samovar_plugins.toolkit import SamSegmenter, StateDict, gelu_

if TYPE_CHECKING:
    from samovar.protocols import EmbeddingCache

__all__ = ["VIDEO", "RepVit", "convert_memory_name", "memory_tracker"]

EPSILON = 1e-5
"""Added to variances, as the published model has it."""

STAGES = 4

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Convolution:
    weight: Tensor
    bias: Tensor
    stride: int = 1
    groups: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """B×C×h×w → B×C'×h'×w'."""
        padding = self.weight.shape[-1] // 2
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)


@dataclass(frozen=True)
class _Mixer:
    """Two 1×1 convolutions with a GELU between them, added to their input."""

    first: _Convolution
    last: _Convolution

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.last(gelu_(self.first(x)))


@dataclass(frozen=True)
class _Gate:
    """Squeeze and excitation: each channel is scaled by what all channels' means say."""

    first: _Convolution
    last: _Convolution

    def __call__(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.last(torch.relu_(self.first(means))))


class RepVit:
    """See `Trunk`.

    Args:
        state: the weights under timm's names.
        image_size: side in pixels of the square that it takes.
    """

    def __init__(self, state: StateDict, image_size: int) -> None:
        self.image_size = image_size
        self._dtype = state.dtype
        exact = state.float32()
        stem = _folded(exact.at("stem.conv1"), stride=2), _folded(exact.at("stem.conv2"), stride=2)
        self._stem = tuple(self._cast(step) for step in stem)
        self._stages = [self._stage(exact.at(f"stages_{index}")) for index in range(STAGES)]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """See `Trunk`."""
        x = images.contiguous(memory_format=torch.channels_last)
        x = self._stem[1](gelu_(self._stem[0](x)))
        maps = []
        for stage in self._stages:
            for step in stage:
                x = step(x)
            maps.append(x.permute(0, 2, 3, 1))
        return maps

    def _stage(self, state: StateDict) -> list[Step]:
        steps: list[Step] = []
        down = state.at("downsample")
        if down.has("spatial_downsample.c.weight"):
            steps += self._block(down.at("pre_block"))
            steps.append(self._cast(_folded(down.at("spatial_downsample"), stride=2)))
            steps.append(self._cast(_folded(down.at("channel_downsample"))))
            steps.append(self._mixer(down.at("ffn")))
        for index in range(state.count("blocks")):
            steps += self._block(state.at(f"blocks.{index}"))
        return steps

    def _block(self, state: StateDict) -> list[Step]:
        steps: list[Step] = [self._cast(_merged(state.at("token_mixer")))]
        if state.has("se.fc1.weight"):
            first, last = (_Convolution(*_weights(state.at(f"se.{name}"))) for name in ("fc1", "fc2"))
            steps.append(_Gate(self._cast(first), self._cast(last)))
        steps.append(self._mixer(state.at("channel_mixer")))
        return steps

    def _mixer(self, state: StateDict) -> _Mixer:
        return _Mixer(self._cast(_folded(state.at("conv1"))), self._cast(_folded(state.at("conv2"))))

    def _cast(self, step: _Convolution) -> _Convolution:
        weight, bias = (tensor.to(self._dtype) for tensor in (step.weight, step.bias))
        return _Convolution(weight, bias, step.stride, step.groups)


def _weights(state: StateDict) -> tuple[Tensor, Tensor]:
    return state.tensor("weight"), state.tensor("bias")


def _folded(state: StateDict, stride: int = 1) -> _Convolution:
    """A convolution and the normalisation after it as one convolution; depthwise if it takes one channel."""
    weight = state.tensor("c.weight").double()
    norm = state.at("bn")
    scale = norm.tensor("weight").double() * torch.rsqrt(norm.tensor("running_var").double() + EPSILON)
    bias = norm.tensor("bias").double() - norm.tensor("running_mean").double() * scale
    groups = len(weight) if weight.shape[1] == 1 else 1
    return _Convolution(weight * scale.view(-1, 1, 1, 1), bias, stride, groups)


def _merged(state: StateDict) -> _Convolution:
    """The 3×3 and the 1×1 depthwise convolutions and the identity as one."""
    wide, narrow = _folded(state.at("conv")), _folded(state.at("conv1"))
    side = wide.weight.shape[-1] // 2
    weight = wide.weight.clone()
    weight[:, :, side, side] += narrow.weight[:, :, 0, 0] + 1
    return _Convolution(weight, wide.bias + narrow.bias, 1, wide.groups)


_PERCEIVER = "spatial_perceiver."
_BLOCKS = r"\.mlp\.(up|down)_proj\."
_PARTS = (
    (".layer_norm_input.", ".attn.norm_x."),
    (".layer_norm_latents.", ".attn.norm_latents."),
    (".layer_norm_self.", ".self_attn.norm."),
    (".cross_attention.", ".attn."),
    (".self_attention.", ".self_attn."),
    (".q_proj.", ".to_q."),
    (".o_proj.", ".to_out."),
    ("mlp.layer_norm.", "ff.0."),
    ("mlp.up_proj.", "ff.1."),
    ("mlp.down_proj.", "ff.3."),
    ("perceiver.layer_norm.", "perceiver.norm."),
    ("latents_1d", "latents"),
)


def memory_tracker(
    load: Callable[[], Mapping[str, Tensor]], encoder: SamSegmenter, cache: EmbeddingCache | None = None
) -> MemoryTracker:
    """A tracker from the tensors of a checkpoint, under Meta's names or Hugging Face's.

    Args:
        load: reads the tensors.
        encoder: the segmenter of the same weights, which encodes frames.
        cache: what frames are encoded through.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: a tensor is missing, or of another shape.
    """
    return VIDEO.tracker(_halves(named(load(), convert_memory_name)), encoder, cache)


def convert_memory_name(name: str) -> str:
    """One of Hugging Face's names as Meta's; keys and values, which Meta has as one tensor, keep names of their own."""
    if not name.startswith(_PERCEIVER):
        if name.startswith("memory_attention."):
            name = re.sub(_BLOCKS, lambda found: f".linear{1 if found[1] == 'up' else 2}.", name)
        return convert_video_name(name)
    for theirs, meta in _PARTS:
        name = name.replace(theirs, meta)
    return name


VIDEO = VideoFamily("edgetam_video", "EdgeTamVideo", convert_memory_name, whole=True)


def _halves(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys and values apart, as Hugging Face has them."""
    found = dict(tensors)
    for name in [name for name in found if name.startswith(_PERCEIVER) and ".to_kv." in name]:
        keys, values = found.pop(name).chunk(2)
        found[name.replace("to_kv", "k_proj")], found[name.replace("to_kv", "v_proj")] = keys, values
    return found
