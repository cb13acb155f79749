"""The few layers that these models are made of, as immutable values over tensors, and how to take them from weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from samovar.errors import WeightsError

__all__ = ["Activation", "Linear", "Mlp", "Norm", "State", "gelu_", "map_norm", "relu_"]

Activation = Callable[[Tensor], Tensor]
"""Applied to a tensor that the caller owns; it may overwrite it."""


def gelu_(x: Tensor) -> Tensor:
    """The exact (error function) GELU, in place: a second buffer of this size would fall out of the CPU's cache."""
    overwritten: Tensor = torch.ops.aten.gelu_.default(x)
    return overwritten


def relu_(x: Tensor) -> Tensor:
    """ReLU, in place."""
    return torch.relu_(x)


@dataclass(frozen=True)
class Linear:
    """y = x · weightᵀ + bias; weight is out×in."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over the last axis."""

    weight: Tensor
    bias: Tensor
    eps: float = 1e-5

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (len(self.weight),), self.weight, self.bias, self.eps)


def map_norm(x: Tensor, norm: Norm) -> Tensor:
    """`norm` over the channels of an N×C×H×W map."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Mlp:
    """Linear layers with an activation between them."""

    layers: tuple[Linear, ...]
    activation: Activation

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class State:
    """Published weights as seen from one module of the model; hands out layers on one device, in one dtype.

    Args:
        tensors: name → tensor, under the names of the published checkpoint.
        device, dtype: of what is handed out.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], device: str = "cpu", dtype: torch.dtype = torch.float32, prefix: str = ""
    ) -> None:
        self._tensors = tensors
        self._prefix = prefix
        self.device = device
        self.dtype = dtype

    def at(self, name: object) -> State:
        """The same weights as seen from the submodule `name`."""
        return State(self._tensors, self.device, self.dtype, f"{self._prefix}{name}.")

    def exactly(self) -> State:
        """The same module in float32."""
        return State(self._tensors, self.device, torch.float32, self._prefix)

    def has(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        return self._prefix + name in self._tensors

    def count(self, name: str) -> int:
        """How many numbered submodules `name` has: 0, 1 …"""
        start = f"{self._prefix}{name}."
        heads = {key[len(start) :].partition(".")[0] for key in self._tensors if key.startswith(start)}
        return sum(head.isdigit() for head in heads)

    def tensor(self, name: str) -> Tensor:
        """A tensor. Raises WeightsError if the checkpoint lacks it."""
        try:
            found = self._tensors[self._prefix + name]
        except KeyError:
            raise WeightsError(
                f"expected a tensor {self._prefix + name!r} in the weights; it is missing; download them again"
            ) from None
        return found.detach().to(self.device, self.dtype).contiguous()

    def linear(self, name: str) -> Linear:
        """A linear layer, with its bias if it has one."""
        bias = self.tensor(f"{name}.bias") if self.has(f"{name}.bias") else None
        return Linear(self.tensor(f"{name}.weight"), bias)

    def norm(self, name: str, eps: float = 1e-5) -> Norm:
        """A layer normalisation."""
        return Norm(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), eps)

    def mlp(self, name: str, activation: Activation, keys: tuple[str, ...] | None = None) -> Mlp:
        """Linear layers: those of the list `name`.layers, or those that `keys` names under `name`."""
        within = self.at(name)
        if keys is None:
            keys = tuple(f"layers.{index}" for index in range(within.count("layers")))
        return Mlp(tuple(within.linear(key) for key in keys), activation)
