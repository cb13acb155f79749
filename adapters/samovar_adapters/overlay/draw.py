"""The `overlay` sink."""

from __future__ import annotations

import os

from samovar.image import Image
from samovar.masks import Masks
from samovar.masks.draw import colours, draw_overlay
from samovar_adapters.formats import ImageFileSink, png

__all__ = ["OverlaySink", "colours", "draw_overlay"]


class OverlaySink(ImageFileSink):
    """A PNG for every image: the image with every mask tinted, outlined and numbered.

    Args:
        path: a folder, made if missing, or a `.png` file for one image.
        tags: whether to number the masks.

    Raises:
        InputError: a path that cannot be written.
    """

    name = "overlay"
    suffix = ".png"
    needs_pixels = True

    def __init__(self, path: str | os.PathLike[str], *, tags: bool = True) -> None:
        super().__init__(path)
        self._tags = tags

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The PNG's bytes."""
        return png(draw_overlay(image, masks, tags=self._tags))
