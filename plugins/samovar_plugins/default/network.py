"""Tiny multilayer perceptrons: standardise, two hidden layers of rectified units, one linear output.

All numbers of one network lie in one flat float32 vector, so that kernels (see `border_costs`) take networks as plain
arrays: mean (d), 1/deviation (d), W1 (d×h), b1 (h), W2 (h×h), b2 (h), w3 (h), b3 (1). The rows of one prompt are
evaluated together and apart from all others', in blocks so small that no BLAS spreads them over threads: an answer
depends neither on the rest of the batch nor on the number of cores.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from samovar.errors import WeightsError

__all__ = ["hidden_units", "parameter_count", "probabilities"]

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


def probabilities(net: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's outputs for rows×inputs as probabilities, float32. Raises WeightsError if it has other inputs."""
    inputs = rows.shape[1]
    hidden = hidden_units(len(net), inputs)
    at = 2 * inputs
    mean, scale = net[:inputs], net[inputs:at]
    w1, at = net[at : at + inputs * hidden].reshape(inputs, hidden), at + inputs * hidden
    b1, at = net[at : at + hidden], at + hidden
    w2, at = net[at : at + hidden * hidden].reshape(hidden, hidden), at + hidden * hidden
    b2, w3, b3 = net[at : at + hidden], net[at + hidden : at + 2 * hidden], net[-1]
    w1 = scale[:, None] * w1  # standardising folded into the first layer
    b1 = b1 - mean @ w1
    odds = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        layer = rows[start : start + _BLOCK] @ w1
        layer += b1
        layer = np.maximum(layer, 0, out=layer) @ w2
        layer += b2
        odds[start : start + _BLOCK] = np.maximum(layer, 0, out=layer) @ w3
    odds += b3
    np.minimum(np.maximum(odds, -30, out=odds), 30, out=odds)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)
