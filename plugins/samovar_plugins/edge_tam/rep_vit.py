"""RepViT, a convolutional network in the shape of a light transformer (2023), with its parallel branches merged.

In training each depthwise convolution is the sum of a 3×3, a 1×1 and the identity, each normalised by its statistics.
All of these are linear, so here they are one 3×3 convolution; every other normalisation is folded into the convolution
before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.layers import State, gelu_

__all__ = ["RepVit"]

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
        frame: side in pixels of the square that it takes.
    """

    def __init__(self, state: State, frame: int) -> None:
        self.frame = frame
        self._dtype = state.dtype
        exact = state.exactly()
        stem = _folded(exact.at("stem.conv1"), stride=2), _folded(exact.at("stem.conv2"), stride=2)
        self._stem = tuple(self._cast(step) for step in stem)
        self._stages = [self._stage(exact.at(f"stages_{index}")) for index in range(STAGES)]

    def __call__(self, frames: Tensor) -> list[Tensor]:
        """See `Trunk`."""
        x = frames.contiguous(memory_format=torch.channels_last)
        x = self._stem[1](gelu_(self._stem[0](x)))
        maps = []
        for stage in self._stages:
            for step in stage:
                x = step(x)
            maps.append(x.permute(0, 2, 3, 1))
        return maps

    def _stage(self, state: State) -> list[Step]:
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

    def _block(self, state: State) -> list[Step]:
        steps: list[Step] = [self._cast(_merged(state.at("token_mixer")))]
        if state.has("se.fc1.weight"):
            first, last = (_Convolution(*_weights(state.at(f"se.{name}"))) for name in ("fc1", "fc2"))
            steps.append(_Gate(self._cast(first), self._cast(last)))
        steps.append(self._mixer(state.at("channel_mixer")))
        return steps

    def _mixer(self, state: State) -> _Mixer:
        return _Mixer(self._cast(_folded(state.at("conv1"))), self._cast(_folded(state.at("conv2"))))

    def _cast(self, step: _Convolution) -> _Convolution:
        weight, bias = (tensor.to(self._dtype) for tensor in (step.weight, step.bias))
        return _Convolution(weight, bias, step.stride, step.groups)


def _weights(state: State) -> tuple[Tensor, Tensor]:
    return state.tensor("weight"), state.tensor("bias")


def _folded(state: State, stride: int = 1) -> _Convolution:
    """A convolution and the normalisation after it as one convolution; depthwise if it takes one channel."""
    weight = state.tensor("c.weight").double()
    norm = state.at("bn")
    scale = norm.tensor("weight").double() * torch.rsqrt(norm.tensor("running_var").double() + EPSILON)
    bias = norm.tensor("bias").double() - norm.tensor("running_mean").double() * scale
    groups = len(weight) if weight.shape[1] == 1 else 1
    return _Convolution(weight * scale.view(-1, 1, 1, 1), bias, stride, groups)


def _merged(state: State) -> _Convolution:
    """The 3×3 and the 1×1 depthwise convolutions and the identity as one."""
    wide, narrow = _folded(state.at("conv")), _folded(state.at("conv1"))
    side = wide.weight.shape[-1] // 2
    weight = wide.weight.clone()
    weight[:, :, side, side] += narrow.weight[:, :, 0, 0] + 1
    return _Convolution(weight, wide.bias + narrow.bias, 1, wide.groups)
