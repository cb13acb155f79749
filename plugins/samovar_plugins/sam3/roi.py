"""RoIAlign (Mask R-CNN, 2017) as two matrix products: bilinear samples average separately along rows and columns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["roi_align"]


def roi_align(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Means of bilinear samples in the size×size cells of each box.

    Args:
        features: C×h×w.
        boxes: N×4, x1 y1 x2 y2 in positions of the map, whose corners lie at the centres of positions.
        size: cells along either side.

    Returns:
        N×C×size×size.
    """
    height, width = features.shape[-2:]
    exact = features.float()
    found = []
    for x1, y1, x2, y2 in boxes.tolist():
        rows = _weights(y1, max(y2 - y1, 1.0), size, height).to(features.device)
        columns = _weights(x1, max(x2 - x1, 1.0), size, width).to(features.device)
        found.append(rows @ exact @ columns.t())
    return torch.stack(found).to(features.dtype)


def _weights(start: float, length: float, cells: int, count: int) -> Tensor:
    """cells×count: how much each of `count` positions adds to each cell of an interval."""
    cell = length / cells
    samples = math.ceil(cell)
    steps = (torch.arange(cells * samples, dtype=torch.float64) + 0.5) * (cell / samples)
    at = steps + start
    inside = (at >= -1) & (at <= count)
    at = at.clamp(0, count - 1)
    low = at.floor().clamp(max=count - 1).long()
    high = (low + 1).clamp(max=count - 1)
    part = at - low
    weights = torch.zeros(len(at), count, dtype=torch.float64)
    rows = torch.arange(len(at))
    weights.index_put_((rows, low), (1 - part) * inside, accumulate=True)
    weights.index_put_((rows, high), part * inside, accumulate=True)
    return weights.unflatten(0, (cells, samples)).mean(1).float()
