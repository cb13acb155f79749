"""What people ask for: an object gone, moved, or cut out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samovar.errors import MaskError
from samovar.image import Image
from samovar_adapters.inpaint.classical import ClassicalPainter
from samovar_adapters.inpaint.masks import MasksLike, as_masks
from samovar_adapters.inpaint.painter import Painter
from samovar_adapters.inpaint.region import Region
from samovar_adapters.inpaint.repainting import Edges, repaint

if TYPE_CHECKING:
    from samovar.image import ImageLike

__all__ = ["REMOVING", "cut_out", "move", "remove"]

REMOVING = Edges(dilate=6, feather=2)
"""Masks end where the object does, but its shadow and its blur go on for a few pixels."""


def remove(
    image: ImageLike, masks: MasksLike, painter: Painter | None = None, edges: Edges = REMOVING
) -> NDArray[np.uint8]:
    """The image without what `masks` mark: H×W×3 uint8 RGB.

    Pixels farther than `dilate + feather` from every mask keep their values exactly. No masks give a plain copy.

    Args:
        masks: whatever `as_masks` takes.
        painter: what fills the holes; patches of the surroundings if not given.

    Raises:
        ImageError, MaskError: an image or masks that cannot be used.
    """
    picture = Image(image)
    found = as_masks(masks, picture.width, picture.height)
    return repaint(picture.pixels, found, painter or ClassicalPainter(), edges)


def move(
    image: ImageLike,
    masks: MasksLike,
    by: tuple[int, int],
    painter: Painter | None = None,
    edges: Edges = REMOVING,
) -> NDArray[np.uint8]:
    """The image with what `masks` mark moved by `by` (x, y) pixels, and the place that it leaves filled.

    What is moved beyond the edge of the image is cut off there. Its rim is blended over `edges.feather` pixels.

    Returns H×W×3 uint8 RGB. Raises as `remove`, and MaskError if all of it would leave the image.
    """
    picture = Image(image)
    found = as_masks(masks, picture.width, picture.height)
    result = repaint(picture.pixels, found, painter or ClassicalPainter(), edges)
    if not len(found):
        return result
    moved = found.union().paste(picture.width, picture.height, *by)
    if not moved.areas[0]:
        raise MaskError(
            f"{by[0]},{by[1]} moves the object out of the {picture.width}×{picture.height} image; go less far"
        )
    region = Region.within(moved, edges.feather)
    shifted = np.roll(picture.pixels, (by[1], by[0]), axis=(0, 1))
    x1, y1, x2, y2 = region.box
    region.paste(result, shifted[y1:y2, x1:x2], region.box)
    return result


def cut_out(image: ImageLike, masks: MasksLike, feather: float = 1, *, crop: bool = False) -> NDArray[np.uint8]:
    """What `masks` mark on a transparent background: H×W×4 uint8 RGBA, straight alpha, colours as in the image.

    Args:
        feather: pixels at the rim of the mask over which it fades out.
        crop: only the part inside its box.

    Raises:
        ImageError, MaskError: an image or masks that cannot be used; no mask at all.
        InputError: a feather that is no number of pixels.
    """
    picture = Image(image)
    found = as_masks(masks, picture.width, picture.height)
    if not len(found):
        raise MaskError("nothing to cut out: there is no mask; prompt for the object")
    region = Region.within(found.union(), feather)
    box = region.box if crop else (0, 0, picture.width, picture.height)
    alpha = np.rint(region.inside(box) * 255).astype(np.uint8)
    return np.dstack([picture.pixels[box[1] : box[3], box[0] : box[2]], alpha])
