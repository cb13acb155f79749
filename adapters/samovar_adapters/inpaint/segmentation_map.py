"""An image of masks in flat colours, as segmentation ControlNets and EditAnything are conditioned on."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from samovar.masks import Masks

__all__ = ["segmentation_map"]

_GOLDEN = 0.6180339887498949


def segmentation_map(masks: Masks) -> NDArray[np.uint8]:
    """H×W×3 uint8 RGB: every mask in a colour of its own, smaller ones over larger ones; black where there is none.

    Deterministic: a mask's colour follows from its rank by area and then by box, so neither the order of the masks nor
    the run changes the image.
    """
    canvas = np.zeros((masks.height, masks.width, 3), np.uint8)
    keys = [(-int(area), *box) for area, box in zip(masks.areas, masks.boxes.tolist())]
    for rank, index in enumerate(sorted(range(len(masks)), key=keys.__getitem__)):
        crop, x, y = next(masks[index].crops())
        canvas[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = _colour(rank)
    return canvas


def _colour(rank: int) -> tuple[int, int, int]:
    """Colours of neighbouring ranks are far apart in hue, and the first thousands all differ."""
    brightness = 1 - 0.13 * (rank // 7 % 5)
    saturation = 0.55 + 0.15 * (rank % 4)
    red, green, blue = colorsys.hsv_to_rgb(rank * _GOLDEN % 1, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)
