"""The interface of what fills masked pixels from their surroundings, and what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samovar.errors import SamovarError

__all__ = ["Inpainted", "Inpainter", "MaskedImage"]

Inpainted: TypeAlias = "NDArray[np.uint8] | SamovarError"
"""H×W×3 uint8 RGB, or why there is none."""


@dataclass(frozen=True, eq=False)
class MaskedImage:
    """One window of an image, at the size that the inpainter works at.

    Attributes:
        pixels: h×w×3 uint8 RGB.
        mask: h×w bool, True where to fill.
        image: which image of the batch it belongs to.
        index: which of that image's masks it is for; 0 when they are filled together.
        box: x1 y1 x2 y2, the window in whole pixels of the image, right and bottom exclusive.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    image: int
    index: int
    box: tuple[int, int, int, int]


@runtime_checkable
class Inpainter(Protocol):
    """Fills masked pixels. Plugins register an `InpainterSpec` whose target makes one."""

    @property
    def native(self) -> int | None:
        """The side, in pixels, of the square images that it fills best; None when any size is as good."""

    @property
    def multiple(self) -> int:
        """Both sides of an image must be multiples of it."""

    @property
    def batch(self) -> int:
        """How many images of one size it takes at once, at most."""

    def paint(self, images: Sequence[MaskedImage], /) -> Sequence[Inpainted]:
        """Every image with its masked pixels filled, or why that one cannot be; in order. All have one size.

        What it gives for pixels outside the mask does not matter: the caller keeps its own there.
        """
