"""TinyViT (2022), the image encoder of MobileSAM: convolutions, then windowed attention at three resolutions.

Batch normalisation at inference is a fixed scale and shift, so each is folded into the convolution before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.toolkit import Neck, Norm, PackedLinear, StateDict, gelu_, residual_mlp

__all__ = ["TinyVit"]


@dataclass(frozen=True)
class _Convolution:
    weight: Tensor
    bias: Tensor
    stride: int
    groups: int

    @classmethod
    def of(cls, state: StateDict, stride: int = 1) -> _Convolution:
        """A convolution "c" with the batch normalisation "bn" after it; one weight a channel means depthwise."""
        exact, norm = state.float32(), state.float32().at("bn")
        weight = exact.tensor("c.weight")
        scale = norm.tensor("weight") / torch.sqrt(norm.tensor("running_var") + 1e-5)
        bias = norm.tensor("bias") - norm.tensor("running_mean") * scale
        groups = len(weight) if weight.shape[1] == 1 else 1
        folded = (weight * scale[:, None, None, None]).to(state.dtype).contiguous(memory_format=torch.channels_last)
        return cls(folded, bias.to(state.dtype), stride, groups)

    def __call__(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)


@dataclass(frozen=True)
class _Inverted:
    """Inverted residual: widen, filter each channel, narrow."""

    widen: _Convolution
    filter: _Convolution
    narrow: _Convolution

    def __call__(self, x: Tensor) -> Tensor:
        return gelu_(self.narrow(gelu_(self.filter(gelu_(self.widen(x))))) + x)


@dataclass(frozen=True)
class _Merge:
    """From one stage's channels and resolution to the next one's."""

    first: _Convolution
    second: _Convolution
    third: _Convolution

    def __call__(self, x: Tensor) -> Tensor:
        return self.third(gelu_(self.second(gelu_(self.first(x)))))


@dataclass(frozen=True)
class _Block:
    norm: Norm
    qkv: PackedLinear
    out: PackedLinear
    bias: Tensor  # heads×s²×s²
    local: _Convolution
    mlp_norm: Norm
    lin1: PackedLinear
    lin2: PackedLinear
    side: int

    def __call__(self, x: Tensor) -> Tensor:
        """B×C×h×w → B×C×h×w."""
        x = x.permute(0, 2, 3, 1)
        x = self.local((x + self._attend(x)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return residual_mlp(x, self.mlp_norm, self.lin1, self.lin2).permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        count, height, width, channels = x.shape
        side, heads = self.side, len(self.bias)
        down, across = -height % side, -width % side
        # Unlike in SAM's ViT, what sticks out of the map is normalised and projected like any other pixel.
        padded = functional.pad(x, (0, 0, 0, across, 0, down))
        cells = padded.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        qkv = self.qkv(self.norm(cells.reshape(-1, side * side, channels)))
        q, k, v = qkv.unflatten(2, (heads, 3, -1)).permute(3, 0, 2, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[None])
        mixed = self.out(mixed.transpose(1, 2).flatten(2)).view(count, *cells.shape[1:3], side, side, channels)
        return mixed.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]


class TinyVit:
    """The encoder. Sizes follow from the shapes of the weights.

    Args:
        state: the module's weights under MobileSAM's names.
        image_size: side in pixels of the square that it takes.
        early: also give "early", B×D×h×w: the features after the second stage.
    """

    def __init__(self, state: StateDict, image_size: int = 1024, *, early: bool = False) -> None:
        self.image_size = image_size
        self._early = early
        self._patches = [_Convolution.of(state.at(f"patch_embed.seq.{index}"), stride=2) for index in (0, 2)]
        first = state.at("layers.0")
        self._inverted = [_inverted(first.at(f"blocks.{index}")) for index in range(first.count("blocks"))]
        self._merges, self._stages = [], []
        for number in range(1, state.count("layers")):
            # The last stage keeps the resolution of the one before it: MobileSAM wants a 64×64 embedding.
            stride = 1 if number == 3 else 2
            self._merges.append(_merge(state.at(f"layers.{number - 1}.downsample"), stride))
            stage = state.at(f"layers.{number}")
            self._stages.append([_block(stage.at(f"blocks.{index}")) for index in range(stage.count("blocks"))])
        self._neck = Neck(state.at("neck"))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """B×3×S×S normalised pixels → "image" B×C×h×w, and "early" if asked for."""
        x = images.contiguous(memory_format=torch.channels_last)
        x = self._patches[1](gelu_(self._patches[0](x)))
        for inverted in self._inverted:
            x = inverted(x)
        early = x
        for number, (merge, stage) in enumerate(zip(self._merges, self._stages)):
            x = merge(x)
            if number == 1:
                early = x
            for block in stage:
                x = block(x)
        image = {"image": self._neck(x.permute(0, 2, 3, 1))}
        return {**image, "early": early} if self._early else image


def _inverted(state: StateDict) -> _Inverted:
    return _Inverted(*(_Convolution.of(state.at(name)) for name in ("conv1", "conv2", "conv3")))


def _merge(state: StateDict, stride: int) -> _Merge:
    return _Merge(
        _Convolution.of(state.at("conv1")),
        _Convolution.of(state.at("conv2"), stride),
        _Convolution.of(state.at("conv3")),
    )


def _block(state: StateDict) -> _Block:
    attention, mlp = state.at("attn"), state.at("mlp")
    offsets = attention.tensor("attention_biases")
    side = _side(offsets.shape[1])
    place = torch.arange(side)
    far = (place[:, None] - place[None]).abs()
    # Offsets are numbered by first occurrence from the top left corner: |dy| · side + |dx|.
    index = far[:, None, :, None] * side + far[None, :, None, :]
    index = index.reshape(side * side, side * side).to(offsets.device)
    return _Block(
        norm=attention.norm("norm"),
        qkv=PackedLinear(attention.linear("qkv")),
        out=PackedLinear(attention.linear("proj")),
        bias=offsets[:, index],
        local=_Convolution.of(state.at("local_conv")),
        mlp_norm=mlp.norm("norm"),
        lin1=PackedLinear(mlp.linear("fc1")),
        lin2=PackedLinear(mlp.linear("fc2")),
        side=side,
    )


def _side(offsets: int) -> int:
    """The side of a window that has this many distinct distances."""
    return int(offsets**0.5)
