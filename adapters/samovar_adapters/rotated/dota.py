"""DOTA's annotation text: the format of oriented objects in aerial images (Xia et al., 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar_adapters.formats.sink import ImageFileSink
from samovar_adapters.rotated.boxes import corners, rotated_boxes

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["DotaSink"]


class DotaSink(ImageFileSink):
    """A text file for every image, a line for every mask: x1 y1 x2 y2 x3 y3 x4 y4 category difficulty.

    The corners are those of the smallest rotated rectangle around the mask, in pixels, clockwise. The category is the
    label with its spaces turned into hyphens, as DOTA writes "small-vehicle", and "object" where there is none; the
    difficulty is 0. Empty masks are left out.

    Args:
        path: a folder, made if missing, or a `.txt` file for one image.

    Raises:
        InputError: a path that cannot be written.
    """

    name = "dota"
    suffix = ".txt"

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The file's bytes."""
        rings = corners(rotated_boxes(masks)).reshape(-1, 8)
        lines = [
            " ".join([*(f"{value:.1f}" for value in ring), "-".join((label or "object").split()), "0"])
            for ring, label, area in zip(rings.tolist(), masks.labels, masks.areas)
            if area
        ]
        return "".join(f"{line}\n" for line in lines).encode()
