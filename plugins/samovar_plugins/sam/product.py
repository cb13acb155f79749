"""Products with matrices, which a CPU does by oneDNN, constant ones laid out for it once.

torch leaves float32 products to MKL, which uses half of what a newer AMD processor can do: 92 to 104 GFLOP/s on a core
of a Zen 5 with the matrices of a ViT-B, where oneDNN, which compiles its kernels for the processor, does 190 to 230. On
a Zen 4, which cannot do more than 115, it is 88 to 99 against 99 to 112.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.layers import Linear, Norm, gelu_

__all__ = ["Product", "multiply", "residual_mlp"]

ROWS = 4096
"""For how many rows at once the layout is chosen; others are multiplied as well."""

PART = 256
"""Rows that go through both layers of an MLP at a time."""


@final
class Product:
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


def residual_mlp(x: Tensor, norm: Norm, first: Product, last: Product) -> Tensor:
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
