"""What a border between two regions looks like, what a network makes of it, and so what merging across it costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .leaves import GROUPS

__all__ = ["BORDER_FEATURES", "SIZELESS", "border_cost", "describe_all", "network_row"]

BORDER_FEATURES = 13
"""What a cost sees of a border: 4 edge strengths, 4 histogram distances, colour distance, smaller and joint area,
emptiness of the joint box, share of the smaller perimeter."""

SIZELESS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12)
"""The features that say nothing of size."""

_SHARE = BORDER_FEATURES - 1
_SIZES = len(SIZELESS)


@njit(fastmath=True)
def border_features(
    a: int,
    b: int,
    length: float,
    strength: NDArray[np.float32],
    area: NDArray[np.float32],
    histogram: NDArray[np.float32],
    colour: NDArray[np.float64],
    box: NDArray[np.float32],
    perimeter: NDArray[np.float32],
    total: float,
    out: NDArray[np.float32],
) -> float:
    """Fill `out` with the BORDER_FEATURES, tempered, of the border of a and b; return their hand-made contrast."""
    small = min(area[a], area[b])
    joint = area[a] + area[b]
    plain = strength[1] / length / 10
    for c in range(4):
        out[c] = np.log1p(strength[c] / length)
    inverse_a = np.float32(1) / area[a]
    inverse_b = np.float32(1) / area[b]
    for g in range(4):
        distance = np.float32(0)
        for k in range(GROUPS[g], GROUPS[g + 1]):
            p = histogram[a, k] * inverse_a
            q = histogram[b, k] * inverse_b
            gap = p - q
            distance += gap * gap / (p + q + np.float32(1e-9))
        plain += distance / 2
        out[4 + g] = np.sqrt(distance / 2)
    step = 0.0
    for c in range(3):
        gap_c = colour[a, c] / area[a] - colour[b, c] / area[b]
        step += gap_c * gap_c
    out[8] = np.log1p(np.sqrt(step))
    out[9] = np.log(small / total + 1e-5) / 3
    out[10] = np.log(joint / total + 1e-5) / 3
    wide = max(box[a, 2], box[b, 2]) - min(box[a, 0], box[b, 0])
    high = max(box[a, 3], box[b, 3]) - min(box[a, 1], box[b, 1])
    empty = (wide * high - joint) / total
    out[11] = np.sqrt(empty) if empty > 0 else -np.sqrt(-empty)
    share = length / min(perimeter[a], perimeter[b])
    out[12] = share
    return float(plain)


@njit(fastmath=True)
def network_row(
    net: NDArray[np.float32], inputs: int, hidden: int, row: NDArray[np.float32], scratch: NDArray[np.float32]
) -> float:
    """The output for one row of `inputs` features; `scratch` holds 2×hidden float32."""
    at = 2 * inputs
    one = scratch[0]
    two = scratch[1]
    b1 = at + inputs * hidden
    for k in range(hidden):
        one[k] = net[b1 + k]
    for d in range(inputs):
        value = (row[d] - net[d]) * net[inputs + d]
        start = at + d * hidden
        for k in range(hidden):
            one[k] += value * net[start + k]
    w2 = b1 + hidden
    b2 = w2 + hidden * hidden
    for k in range(hidden):
        two[k] = net[b2 + k]
    for d in range(hidden):
        value = one[d]
        if value > 0:
            start = w2 + d * hidden
            for k in range(hidden):
                two[k] += value * net[start + k]
    w3 = b2 + hidden
    total = float(net[w3 + hidden])
    for k in range(hidden):
        if two[k] > 0:
            total += two[k] * net[w3 + k]
    return total


@njit
def softplus(value: float) -> float:
    return float(np.log1p(np.exp(value))) if value < 20 else value


@njit(fastmath=True)
def border_cost(
    a: int,
    b: int,
    length: float,
    strength: NDArray[np.float32],
    area: NDArray[np.float32],
    histogram: NDArray[np.float32],
    colour: NDArray[np.float64],
    box: NDArray[np.float32],
    perimeter: NDArray[np.float32],
    total: float,
    contrast: bool,
    outline: bool,
    net: NDArray[np.float32],
    inputs: int,
    hidden: int,
    size_power: float,
    share_power: float,
    row: NDArray[np.float32],
    scratch: NDArray[np.float32],
) -> float:
    """What merging a and b across their border costs by a `merging.Recipe`.

    Args:
        strength: of the border; the last entry is the summed outline probability.
        inputs: of the network: BORDER_FEATURES, as many as SIZELESS, or 0 for no network.
        row, scratch: BORDER_FEATURES and 2×hidden float32, overwritten.
    """
    cost = border_features(a, b, length, strength, area, histogram, colour, box, perimeter, total, row)
    share = row[_SHARE]
    if not contrast:
        cost = 1.0
    if outline:
        cost *= strength[strength.shape[0] - 1] / length + 0.05
    if inputs > 0:
        if inputs == _SIZES:  # the features of size are left out, so what is behind them moves up
            row[_SIZES - 1] = share
        cost *= softplus(network_row(net, inputs, hidden, row, scratch) + 2)
    whole: float = cost * (min(area[a], area[b]) / total) ** size_power * (1.2 - share) ** share_power
    return whole


@njit(fastmath=True)
def describe_all(
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    length: NDArray[np.float32],
    strength: NDArray[np.float32],
    area: NDArray[np.float32],
    histogram: NDArray[np.float32],
    colour: NDArray[np.float64],
    box: NDArray[np.float32],
    perimeter: NDArray[np.float32],
    total: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    edges = first.shape[0]
    out = np.empty((edges, BORDER_FEATURES), np.float32)
    plain = np.empty(edges, np.float32)
    for e in range(edges):
        a, b = first[e], second[e]
        plain[e] = border_features(a, b, length[e], strength[e], area, histogram, colour, box, perimeter, total, out[e])
    return out, plain
