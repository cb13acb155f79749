"""SAM 3's tracker on single images: SAM 2's prompt encoder and decoder on a neck of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.encoding import Squeezed
from samovar_plugins.sam.layers import State
from samovar_plugins.sam.prompts import SamPromptEncoder
from samovar_plugins.sam.segmenter import Parts
from samovar_plugins.sam2.decoder import Sam2Decoder
from samovar_plugins.sam2.names import renamed, split_points
from samovar_plugins.sam2.networks import LIMIT

__all__ = ["Sam3Encoder", "build", "head_tensors"]

HALF = (0.5, 0.5, 0.5)


def head_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tracker's tensors under SAM 2's names, and its neck's under their own."""
    start = "tracker_model."
    found = {renamed(name.removeprefix(start)): tensor for name, tensor in tensors.items() if name.startswith(start)}
    neck = {name: tensor for name, tensor in tensors.items() if name.startswith("tracker_neck.")}
    return {**split_points(found), **neck}


def build(trunk: Callable[[Tensor], Tensor], state: State, frame: int, patch: int) -> Parts:
    """The parts that answer points, boxes and masks.

    Args:
        trunk: B×3×S×S pixels → B×D×h×w features, which the detector uses too.
        state: what `head_tensors` gives.
        frame: side of the square that the trunk takes.
        patch: pixels from one of its features to the next.
    """
    grid = (frame // patch, frame // patch)
    decoder = state.at("sam_mask_decoder")
    prompts = SamPromptEncoder(state.at("sam_prompt_encoder"), frame, padded=True)
    return Parts(
        encoder=Sam3Encoder(trunk, state, frame),
        prompts=prompts,
        decoder=Sam2Decoder(decoder, prompts.position(grid), prompts.no_mask),
        frame=Squeezed(frame, antialias=True, mode="bilinear", rounded=True, mean=HALF, deviation=HALF),
        grid=grid,
        dense=prompts.dense,
        limit=LIMIT,
    )


class Sam3Encoder:
    """See `Encoder`: "trunk" B×D×h×w for the detector, and what `Sam2Decoder` takes, for points, boxes and masks.

    Args:
        trunk: see `build`.
        state: what `head_tensors` gives.
        frame: side of the square.
    """

    def __init__(self, trunk: Callable[[Tensor], Tensor], state: State, frame: int) -> None:
        self.frame = frame
        self._trunk = trunk
        exact = state.exactly()
        layers, decoder = exact.at("tracker_neck.fpn_layers"), exact.at("sam_mask_decoder")
        self._levels = [_Level(layers.at(index), state.dtype) for index in range(3)]
        no_memory = exact.tensor("no_mem_embed").flatten()
        for level, name in zip(self._levels, ("conv_s0", "conv_s1")):
            level.follow(decoder.tensor(f"{name}.weight").flatten(1), decoder.tensor(f"{name}.bias"))
        self._levels[2].follow(torch.eye(len(no_memory), device=state.device), no_memory)

    def __call__(self, frames: Tensor) -> dict[str, Tensor]:
        """See `Encoder`."""
        trunk = self._trunk(frames)
        fine, middle, image = (level(trunk) for level in self._levels)
        return {"image": image, "middle": middle, "fine": fine, "trunk": trunk}


class _Level:
    """One resolution of the neck; the 1×1 convolution that the decoder applies to it is part of its last one."""

    def __init__(self, state: State, dtype: torch.dtype) -> None:
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
