"""The overlay sink: a picture for every image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from samovar_adapters.formats.pictures import png
from samovar_adapters.formats.sink import ImageFileSink
from samovar_adapters.overlay.draw import draw_overlay

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["OverlaySink"]


class OverlaySink(ImageFileSink):
    """A PNG for every image: the picture with every mask tinted, outlined and numbered.

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
