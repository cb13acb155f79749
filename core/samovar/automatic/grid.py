"""Where to look: overlapping crops of the image, and a grid of points in each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Crop", "crops", "point_grid"]


class Crop(NamedTuple):
    """A window x1 y1 x2 y2 of the image, in whole pixels, and the layer it belongs to (0 is the whole image)."""

    x1: int
    y1: int
    x2: int
    y2: int
    layer: int


def crops(width: int, height: int, n_layers: int, overlap_ratio: float) -> Iterator[Crop]:
    """The whole image, then layer by layer 2×2, 4×4 … crops that overlap by `overlap_ratio` of the shorter side."""
    yield Crop(0, 0, width, height, 0)
    for layer in range(1, n_layers + 1):
        side = 2**layer
        overlap = int(overlap_ratio * min(width, height) * (2 / side))
        crop_width = ceil((overlap * (side - 1) + width) / side)
        crop_height = ceil((overlap * (side - 1) + height) / side)
        for column, row in product(range(side), range(side)):
            x, y = (crop_width - overlap) * column, (crop_height - overlap) * row
            if x < width and y < height:  # an image smaller than the grid of crops has fewer of them
                yield Crop(x, y, min(x + crop_width, width), min(y + crop_height, height), layer)


def point_grid(per_side: int, width: int, height: int) -> NDArray[np.float32]:
    """per_side² points in the centres of equal cells, row by row: N×2 float32, (x, y) in pixels."""
    centres = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(centres * width, centres * height)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
