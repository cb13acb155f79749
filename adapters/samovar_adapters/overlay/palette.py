"""Colours that stay apart from each other and from most pictures."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["colours", "is_light", "tint"]

_GOLDEN = 137.507764  # degrees: neighbours in the sequence are never close in hue, however long it gets
_FIRST = 25.0
_LIGHTNESS = (0.74, 0.82, 0.67)
_CHROMA = 0.17

# OKLab to linear sRGB, from B. Ottosson, "A perceptual color space for image processing" (2020).
_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@lru_cache(maxsize=8)
def colours(count: int) -> NDArray[np.uint8]:
    """`count`×3 uint8 RGB, vivid, neither dark nor pale. The first of them are the same for every count."""
    index = np.arange(count)
    hue = np.radians(_FIRST + _GOLDEN * index)
    lightness = np.array(_LIGHTNESS)[index % len(_LIGHTNESS)]
    lab = np.stack([lightness, _CHROMA * np.cos(hue), _CHROMA * np.sin(hue)], axis=1)
    linear = np.clip(((lab @ _TO_LMS.T) ** 3) @ _TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    palette: NDArray[np.uint8] = np.round(encoded * 255).astype(np.uint8)
    palette.setflags(write=False)
    return palette


def tint(colour: NDArray[np.uint8], white: float) -> NDArray[np.uint8]:
    """`colour` mixed with this share of white."""
    mixed: NDArray[np.uint8] = np.round(colour * (1 - white) + 255 * white).astype(np.uint8)
    return mixed


def is_light(colour: NDArray[np.uint8]) -> bool:
    """Whether black text reads better on it than white (relative luminance as in WCAG)."""
    linear = (colour / 255) ** 2.2
    return float(linear @ [0.2126, 0.7152, 0.0722]) > 0.18
