"""One picture of numbers: which mask each pixel belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from samovar.errors import InputError
from samovar_adapters.formats.pictures import png
from samovar_adapters.formats.sink import ImageFileSink

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["LabelMapSink"]

_MOST = 65_535


class LabelMapSink(ImageFileSink):
    """A 16-bit grey PNG for every image: 0 is background, i + 1 is mask i. Where masks overlap, the smallest shows."""

    name = "labelmap"
    suffix = ".png"

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The PNG's bytes. Raises InputError for more masks than 16 bits can number."""
        if len(masks) > _MOST:
            raise InputError(f"{key}: a label map holds at most {_MOST} masks; got {len(masks)}; use npz or coco")
        page = np.zeros((masks.height, masks.width), np.uint16)
        for i in np.argsort(-masks.areas, kind="stable").tolist():
            crop, x, y = next(masks[i].crops())
            page[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = i + 1
        return png(page)
