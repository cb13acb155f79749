"""The few layers that these models are made of, as immutable values over tensors, and how to take them from weights.

Products with constant matrices go by oneDNN on a CPU, their matrices laid out for it once (`PackedLinear`). torch
leaves float32 products to MKL, which uses half of what a newer AMD processor can do: 92 to 104 GFLOP/s on a core of a
Zen 5 with the matrices of a ViT-B, where oneDNN, which compiles its kernels for the processor, does 190 to 230. On a
Zen 4, which cannot do more than 115, it is 88 to 99 against 99 to 112.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional

from samovar.errors import WeightsError

__all__ = [
    "Activation",
    "Linear",
    "Mlp",
    "Neck",
    "Norm",
    "PackedLinear",
    "PatchEmbed",
    "StateDict",
    "gelu_",
    "map_norm",
    "multiply",
    "relu_",
    "residual_mlp",
    "window_partition",
    "window_unpartition",
]

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


class StateDict:
    """Published weights as seen from one module of the model; hands out layers on one device, in one dtype.

    It remembers which tensors were taken, and which of them for decoding alone: fingerprints are made of that, so that
    no model has to say, and none can say wrongly, what its embeddings depend on.

    Args:
        tensors: name → tensor, under the names that the networks ask for.
        device, dtype: of what is handed out.
    """

    def __init__(self, tensors: Mapping[str, Tensor], device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.device = device
        self.dtype = dtype
        self.taken: dict[bool, set[str]] = {True: set(), False: set()}
        """The names of tensors that were taken: for decoding (True), or for anything else."""
        self._tensors = tensors
        self._prefix = ""
        self._decoding = False

    def _with(self, **changed: Any) -> StateDict:
        view = copy(self)
        view.__dict__.update(changed)
        return view

    def at(self, name: object) -> StateDict:
        """The same weights as seen from the submodule `name`."""
        return self._with(_prefix=f"{self._prefix}{name}.")

    def float32(self) -> StateDict:
        """The same module in float32."""
        return self._with(dtype=torch.float32)

    def decoding(self) -> StateDict:
        """The same module as part of a decoder: embeddings do not depend on tensors taken through this alone."""
        return self._with(_decoding=True)

    def has(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        return self._prefix + name in self._tensors

    def count(self, name: str) -> int:
        """How many numbered submodules `name` has. Raises WeightsError unless they are 0, 1 … without a gap."""
        start = f"{self._prefix}{name}."
        heads = {key[len(start) :].partition(".")[0] for key in self._tensors if key.startswith(start)}
        numbers = {int(head) for head in heads if head.isdigit()}
        if numbers != set(range(len(numbers))):
            lost = min(set(range(max(numbers))) - numbers)
            raise WeightsError(f"expected {start}{lost}… in the weights; it is missing; download them again")
        return len(numbers)

    def tensor(self, name: str) -> Tensor:
        """A tensor of its own memory. Raises WeightsError if the checkpoint lacks it."""
        name = self._prefix + name
        try:
            found = self._tensors[name]
        except KeyError:
            raise WeightsError(
                f"expected a tensor {name!r} in the weights; it is missing; download them again"
            ) from None
        self.taken[self._decoding].add(name)
        # A copy: what is mapped from a file would change with it when a training run saves to the same path.
        return found.detach().to(self.device, self.dtype, copy=True, memory_format=torch.contiguous_format)

    def everything(self) -> dict[str, Tensor]:
        """All tensors of the module, as they are; for networks that load them by themselves. They count as taken."""
        start = len(self._prefix)
        found = {name: tensor for name, tensor in self._tensors.items() if name.startswith(self._prefix)}
        self.taken[self._decoding].update(found)
        return {name[start:]: tensor for name, tensor in found.items()}

    def linear(self, name: str) -> Linear:
        """A linear layer, with its bias if it has one."""
        bias = self.tensor(f"{name}.bias") if self.has(f"{name}.bias") else None
        return Linear(self.tensor(f"{name}.weight"), bias)

    def norm(self, name: str, eps: float = 1e-5) -> Norm:
        """A layer normalisation."""
        return Norm(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), eps)

    def mlp(
        self, name: str, activation: Activation, keys: Sequence[str] | None = None, outputs: int | None = None
    ) -> Mlp:
        """Linear layers: those of the list `name`.layers, or those that `keys` names under `name`.

        Raises WeightsError for layers that do not follow one another, or that end in other than `outputs` channels.
        """
        within = self.at(name)
        if keys is None:
            keys = [f"layers.{index}" for index in range(within.count("layers"))]
        layers = tuple(within.linear(key) for key in keys)
        ends = [len(layer.weight) for layer in layers]
        starts = [layer.weight.shape[1] for layer in layers]
        if not layers or starts[1:] != ends[:-1] or outputs not in (None, ends[-1]):
            wanted = "" if outputs is None else f" to {outputs} channels"
            got = ", ".join(f"{start}→{end}" for start, end in zip(starts, ends)) or "none"
            raise WeightsError(
                f"expected layers{wanted} in {self._prefix}{name}; got {got}; the weights are incomplete"
            )
        return Mlp(layers, activation)


ROWS = 4096
"""For how many rows at once the layout is chosen; others are multiplied as well."""

PART = 256
"""Rows that go through both layers of an MLP at a time."""


@final
class PackedLinear:
    """y = x · weightᵀ + bias, as `Linear`, for x of many rows. Other devices and dtypes are left to torch.

    Args:
        layer: its weight is not kept where another layout of it is.
    """

    def __init__(self, layer: Linear) -> None:
        self.bias = layer.bias
        self._laid_out = _lays_out(layer.weight)
        self._weight = layer.weight
        if self._laid_out:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.contiguous(), ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        if self._laid_out:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, "none", [], "")
            return product
        return functional.linear(x, self._weight, self.bias)


def residual_mlp(x: Tensor, norm: Norm, first: PackedLinear, last: PackedLinear) -> Tensor:
    """…×C → …×C: a transformer block's second half, x + last(gelu(first(norm(x)))).

    A CPU does it for some rows at a time: what is between the layers has four times the channels, and all of it at once
    would go to memory and back.
    """
    if x.device.type != "cpu":
        return x + last(gelu_(first(norm(x))))
    rows = x.reshape(-1, x.shape[-1])
    out = torch.empty_like(rows)
    for part, kept in zip(rows.split(PART), out.split(PART)):
        torch.add(part, last(gelu_(first(norm(part)))), out=kept)
    return out.view(x.shape)


def multiply(x: Tensor, matrices: Tensor) -> Tensor:
    """N×m×l products of N×m×k with N×l×k matrices, transposed."""
    if len(x) == 1 and _lays_out(matrices):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x[0], matrices[0], None, "none", [], "")
        return product[None]
    return torch.bmm(x, matrices.transpose(1, 2))


def _lays_out(weight: Tensor) -> bool:
    """Whether oneDNN is there and wanted for this matrix. The two operators are those that torch.compile uses."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class PatchEmbed:
    """Squares of pixels as one vector each: a convolution whose stride is its size.

    Args:
        state: of the module, with its convolution "proj".
    """

    def __init__(self, state: StateDict) -> None:
        convolution = state.linear("proj")
        self.size = int(convolution.weight.shape[-1])
        self._embed = PackedLinear(Linear(convolution.weight.flatten(1), convolution.bias))

    def __call__(self, images: Tensor) -> Tensor:
        """B×3×S×S → B×h×w×C."""
        count, size = len(images), self.size
        side = images.shape[2] // size
        cells = images.view(count, 3, side, size, side, size).permute(0, 2, 4, 1, 3, 5)
        return self._embed(cells.reshape(count, side, side, -1))


class Neck:
    """From the transformer's channels to the embedding's: two convolutions, each followed by a normalisation."""

    def __init__(self, state: StateDict) -> None:
        self._first = PackedLinear(Linear(state.tensor("0.weight").flatten(1), None))
        self._second = state.tensor("2.weight")
        self._norms = state.norm("1", eps=1e-6), state.norm("3", eps=1e-6)

    def __call__(self, x: Tensor) -> Tensor:
        """B×h×w×D → B×C×h×w."""
        x = self._norms[0](self._first(x))
        x = functional.conv2d(x.permute(0, 3, 1, 2), self._second, padding=1)
        return self._norms[1](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def window_partition(x: Tensor, side: int, filling: Tensor | None) -> Tensor:
    """B×h×w×C → (B·windows)×side×side×C; what sticks out of the map is `filling` (C), or zero."""
    count, height, width, channels = x.shape
    down, across = -height % side, -width % side
    if down or across:
        padded = x.new_empty(count, height + down, width + across, channels)
        padded[:, :height, :width] = x
        for edge in (padded[:, height:], padded[:, :height, width:]):
            edge[:] = 0 if filling is None else filling
        x = padded
    cells = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return cells.transpose(2, 3).reshape(-1, side, side, channels)


def window_unpartition(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B·windows)×side×side×C → B×h×w×C: the inverse of `window_partition`."""
    side = x.shape[1]
    height, width = (-(-extent // side) for extent in size)
    cells = x.unflatten(0, (-1, height, width)).transpose(2, 3)
    return cells.flatten(3, 4).flatten(1, 2)[:, : size[0], : size[1]]
