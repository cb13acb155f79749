"""`draw_overlay`: a picture of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.errors import MaskError
from samovar.image import Image
from samovar.masks import Masks
from samovar_adapters.overlay.outline import draw_fills, draw_outline, topmost
from samovar_adapters.overlay.palette import colours
from samovar_adapters.overlay.tags import draw_tag, place_tags

__all__ = ["draw_overlay"]


def draw_overlay(image: Image, masks: Masks, *, tags: bool = True) -> NDArray[np.uint8]:
    """The image with every mask tinted, outlined and numbered from 1 in the order of `masks`, with its label if any.

    Lines and type grow with the image and get finer with many masks. Where masks overlap the smallest shows.

    Args:
        image: what the masks are of.
        masks: of the image's size.
        tags: whether to number them.

    Returns:
        H×W×3 uint8, RGB, of the image's size.

    Raises:
        MaskError: the masks are of another size.
        ImageError: the image cannot be read.
    """
    canvas = np.array(image.pixels)
    if (masks.width, masks.height) != (canvas.shape[1], canvas.shape[0]):
        raise MaskError(
            f"{image.name}: the masks are {masks.width}×{masks.height} but the image is "
            f"{canvas.shape[1]}×{canvas.shape[0]}; resize the masks first"
        )
    span = float(np.sqrt(canvas.shape[0] * canvas.shape[1]))
    crowd = float(np.clip((12 / max(len(masks), 1)) ** 0.25, 0.6, 1))
    palette = colours(len(masks))
    shown = topmost(masks)
    draw_fills(canvas, shown, palette)
    for i in np.argsort(-masks.areas, kind="stable").tolist():
        crop, x, y = next(masks[i].crops())
        if crop.size:
            draw_outline(canvas, crop, x, y, palette[i], max(1.2, crowd * span / 260))
    if tags:
        for tag in place_tags(masks, shown, max(10.0, crowd * span / 30)):
            draw_tag(canvas, tag, palette[tag.mask])
    return canvas
