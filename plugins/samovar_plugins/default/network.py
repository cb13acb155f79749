"""Tiny multilayer perceptrons: standardise, two hidden layers of rectified units, one linear output.

All numbers of one network lie in one flat float32 vector, so that kernels (see `border_costs`) take networks as plain
arrays: mean (d), 1/deviation (d), W1 (d×h), b1 (h), W2 (h×h), b2 (h), w3 (h), b3 (1). The rows of one prompt are
evaluated together and apart from all others', in blocks so small that no BLAS spreads them over threads: an answer
depends neither on the rest of the batch nor on the number of cores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.errors import WeightsError
from samovar.jit import njit

__all__ = ["Layers", "hidden_units", "parameter_count", "probabilities", "unfold"]

_BLOCK = 128


def parameter_count(inputs: int, hidden: int) -> int:
    """How many numbers a network has."""
    return 2 * inputs + inputs * hidden + hidden + hidden * hidden + hidden + hidden + 1


def hidden_units(parameters: int, inputs: int) -> int:
    """The hidden units of a network of that many parameters, solved from `parameter_count`.

    Raises:
        WeightsError: no network on `inputs` features has that many.
    """
    linear = inputs + 3
    hidden = round((-linear + math.sqrt(max(linear * linear - 4 * (2 * inputs + 1 - parameters), 0))) / 2)
    if hidden < 1 or parameter_count(inputs, hidden) != parameters:
        raise WeightsError(
            f"expected a network on {inputs} features; got {parameters} numbers, which fit none; refit or reinstall"
        )
    return hidden


@dataclass(frozen=True, eq=False)
class Layers:
    """A network with the standardising folded into its first layer. float32.

    Attributes:
        w1, b1: d×h and h.
        w2, b2: h×h and h.
        w3, b3: h, and the last number.
    """

    w1: NDArray[np.float32]
    b1: NDArray[np.float32]
    w2: NDArray[np.float32]
    b2: NDArray[np.float32]
    w3: NDArray[np.float32]
    b3: float


def unfold(net: NDArray[np.float32], inputs: int) -> Layers:
    """The layers of a network on so many inputs. Raises WeightsError if it has others."""
    hidden = hidden_units(len(net), inputs)
    sizes = (inputs, inputs, inputs * hidden, hidden, hidden * hidden, hidden, hidden)
    mean, scale, w1, b1, w2, b2, w3, b3 = np.split(net, np.cumsum(sizes))
    w1 = scale[:, None] * w1.reshape(inputs, hidden)
    return Layers(w1, b1 - mean @ w1, w2.reshape(hidden, hidden), b2, w3, float(b3[0]))


@njit(fastmath=True)
def _rectify(layer: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    for i in range(layer.shape[0]):
        for j in range(layer.shape[1]):
            layer[i, j] = max(layer[i, j] + bias[j], np.float32(0))


@njit(fastmath=True)
def _odds(
    layer: NDArray[np.float32], bias: NDArray[np.float32], weight: NDArray[np.float32], last: float
) -> NDArray[np.float32]:
    out = np.empty(layer.shape[0], np.float32)
    for i in range(layer.shape[0]):
        total = np.float32(last)
        for j in range(layer.shape[1]):
            total += max(layer[i, j] + bias[j], np.float32(0)) * weight[j]
        out[i] = min(max(total, np.float32(-30)), np.float32(30))
    return out


def _product(rows: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty((len(rows), weight.shape[1]), np.float32)
    for start in range(0, len(rows), _BLOCK):
        np.matmul(rows[start : start + _BLOCK], weight, out=out[start : start + _BLOCK])
    return out


def probabilities(net: Layers, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's outputs for rows×inputs as probabilities, float32."""
    first = _product(rows, net.w1)
    _rectify(first, net.b1)
    odds = _odds(_product(first, net.w2), net.b2, net.w3, net.b3)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)
