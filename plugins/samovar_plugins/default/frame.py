"""The working frame: every image is brought to about the same number of pixels before regions are grown on it.

Felzenszwalb regions, texture filters and merge costs are all tuned in working pixels, so a phone photo and a
thumbnail must look alike to them. Coordinates are continuous with pixel centres at +0.5 in both frames, so going from
one to the other is one multiplication a axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["MAX_SIDE", "WORK_PIXELS", "Frame"]

WORK_PIXELS = 160_000
"""Pixels of the working frame: a 640×480 photo is seen at 462×346."""

MAX_SIDE = 4096
"""Longest working side, so that a 20,000×1 strip stays a strip of bounded size."""

MAX_ZOOM = 2.0
"""Small images are enlarged at most this much; beyond it there is nothing more to see."""


@dataclass(frozen=True)
class Frame:
    """The sizes of an image and of its working copy, in pixels."""

    width: int
    height: int
    cols: int
    rows: int

    @classmethod
    def of(cls, width: int, height: int) -> Frame:
        """The working frame of a `width`×`height` image."""
        zoom = min(math.sqrt(WORK_PIXELS / (width * height)), MAX_ZOOM, MAX_SIDE / max(width, height))
        return cls(width, height, max(1, round(width * zoom)), max(1, round(height * zoom)))

    @property
    def zoom_x(self) -> float:
        """Working pixels per image pixel along x."""
        return self.cols / self.width

    @property
    def zoom_y(self) -> float:
        """Working pixels per image pixel along y."""
        return self.rows / self.height
