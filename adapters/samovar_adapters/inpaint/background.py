"""Another background behind what is masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, MaskError
from samovar.image import Image
from samovar.masks import Masks
from samovar_adapters.inpaint.masks import MasksLike, as_masks
from samovar_adapters.inpaint.painter import Painter
from samovar_adapters.inpaint.region import Region
from samovar_adapters.inpaint.repainting import Edges, repaint
from samovar_adapters.inpaint.window import resized

if TYPE_CHECKING:
    from samovar.image import ImageLike

__all__ = ["Background", "replace_background"]

Background = Union[Painter, "ImageLike", tuple[int, int, int]]
"""What paints it, a picture, or one colour as (red, green, blue)."""


def replace_background(
    image: ImageLike, masks: MasksLike, background: Background, *, feather: float = 1
) -> NDArray[np.uint8]:
    """The image with everything but what `masks` mark replaced: H×W×3 uint8 RGB.

    The object's pixels keep their exact values, but for its outermost `feather` pixels, which fade into the background.

    Args:
        background: a painter (a `DiffusersPainter` with a prompt, say), which sees the whole image; a picture, which is
            scaled to cover the image and cut to it; or a colour.

    Raises:
        ImageError, MaskError: an image or masks that cannot be used; no mask at all, or nothing but mask.
        InputError: a feather that is no number of pixels, or no colour.
        SamovarError: whatever the painter raises.
    """
    picture = Image(image)
    found = as_masks(masks, picture.width, picture.height)
    if not len(found):
        raise MaskError("nothing to keep: there is no mask; prompt for the object that stays")
    whole = 0, 0, picture.width, picture.height
    kept = Region.within(found.union(), feather)
    behind = _painted(picture, kept.inside(whole) < 1, background)
    kept.paste(behind, np.ascontiguousarray(picture.pixels), whole)
    return behind


def _painted(picture: Image, gap: NDArray[np.bool_], background: Background) -> NDArray[np.uint8]:
    if isinstance(background, tuple):
        return _coloured(picture, background)
    if isinstance(background, Painter):
        if not gap.any():
            raise MaskError("no background to replace: the masks cover the whole image; prompt for the object alone")
        return repaint(picture.pixels, Masks.from_array(gap[None]), background, Edges(whole=True))
    return _covering(Image(background), picture.width, picture.height)


def _coloured(picture: Image, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    if len(colour) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
        raise InputError(f"a colour is three whole numbers from 0 to 255; got {colour!r}; e.g. (255, 255, 255)")
    return np.full((picture.height, picture.width, 3), colour, np.uint8)


def _covering(background: Image, width: int, height: int) -> NDArray[np.uint8]:
    """The middle of the picture, scaled so that it just covers `width`×`height`."""
    scale = max(width / background.width, height / background.height)
    shown_width, shown_height = min(background.width, width / scale), min(background.height, height / scale)
    x, y = (background.width - shown_width) / 2, (background.height - shown_height) / 2
    x1, y1 = int(x), int(y)
    x2 = max(x1 + 1, min(background.width, round(x + shown_width)))
    y2 = max(y1 + 1, min(background.height, round(y + shown_height)))
    return resized(background.crop(x1, y1, x2, y2).pixels, width, height).copy()
