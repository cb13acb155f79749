"""Colours are those that the networks were fitted on."""

from __future__ import annotations

import cv2
import numpy as np

from samovar_plugins.default.channels import describe_pixels


def test_colours_are_those_of_opencv() -> None:
    """To one step of its fixed-point numbers, which are 1/64 of a unit of a and b."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    pixels[:2, :128] = np.arange(256, dtype=np.uint8).reshape(2, 128, 1)  # every grey, black and white among them
    expected = cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    found = describe_pixels(pixels).lab
    assert np.abs(found - expected).max() <= 1 / 64
    assert (found == expected).mean() > 0.99
