"""What repaints: patches of the surroundings, OpenCV's interpolation or a diffusion pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samovar.errors import SamovarError
from samovar_adapters.inpaint.region import Box

__all__ = ["Painted", "Painter", "Picture"]

Painted = NDArray[np.uint8] | SamovarError
"""H×W×3 uint8 RGB, or why there is none."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One window of an image, at the size that the painter works at.

    Attributes:
        pixels: h×w×3 uint8 RGB.
        mask: h×w bool, True where to repaint.
        image: which image of the batch it belongs to.
        index: which of that image's masks it is for; 0 when they are repainted together.
        box: the window in pixels of the image.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    image: int
    index: int
    box: Box


@runtime_checkable
class Painter(Protocol):
    """Fills masked pixels from what surrounds them."""

    @property
    def native(self) -> int | None:
        """The side, in pixels, of the square pictures that it paints best; None when any size is as good."""

    @property
    def multiple(self) -> int:
        """Both sides of a picture must be multiples of it."""

    @property
    def batch(self) -> int:
        """How many pictures of one size it takes at once, at most."""

    def paint(self, pictures: Sequence[Picture]) -> Sequence[Painted]:
        """Every picture with its masked pixels filled, or why that one cannot be. All have one size."""
