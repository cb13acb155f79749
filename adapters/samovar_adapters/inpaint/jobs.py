"""What people ask for: an object gone, moved, cut out, or in front of something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.deprecation import renamed_keywords
from samovar.errors import InputError, MaskError
from samovar.image import Image
from samovar.inpainting import Inpainter
from samovar.masks import Masks
from samovar_adapters.inpaint.repainting import MaskMargins, Region, open_inpainter, repaint, resized

if TYPE_CHECKING:
    import PIL.Image

    from samovar.image import ImageLike

__all__ = ["REMOVING", "Background", "MasksLike", "as_masks", "cut_out", "move", "remove", "replace_background"]

MasksLike = Union[Masks, ArrayLike, "PIL.Image.Image", Sequence["PIL.Image.Image"]]
"""`Masks`; an H×W or N×H×W array or tensor; a Pillow image, or several."""

Background = Union[Inpainter, "ImageLike", tuple[int, int, int]]
"""What paints it, an image, or one colour as (red, green, blue)."""

REMOVING = MaskMargins(dilate=6, feather=2)
"""Masks end where the object does, but its shadow and its blur go on for a few pixels."""


@renamed_keywords(painter="inpainter", edges="margins")
def remove(
    image: ImageLike, masks: MasksLike, inpainter: Inpainter | None = None, margins: MaskMargins = REMOVING
) -> NDArray[np.uint8]:
    """The image without what `masks` mark: H×W×3 uint8 RGB.

    Pixels farther than `dilate + feather` from every mask keep their values exactly. No masks give a plain copy.

    Args:
        masks: whatever `as_masks` takes.
        inpainter: what fills the holes; patches of the surroundings if not given.

    Raises:
        ImageError, MaskError: an image or masks that cannot be used.
    """
    image = Image(image)
    found = as_masks(masks, image.width, image.height)
    return repaint(image.pixels, found, inpainter or open_inpainter(), margins)


@renamed_keywords(painter="inpainter", edges="margins")
def move(
    image: ImageLike,
    masks: MasksLike,
    by: tuple[int, int],
    inpainter: Inpainter | None = None,
    margins: MaskMargins = REMOVING,
) -> NDArray[np.uint8]:
    """The image with what `masks` mark moved by `by` (x, y) pixels, and the place that it leaves filled.

    What is moved beyond the edge of the image is cut off there. Its rim is blended over `margins.feather` pixels.

    Returns H×W×3 uint8 RGB. Raises as `remove`, and MaskError if all of it would leave the image.
    """
    image = Image(image)
    found = as_masks(masks, image.width, image.height)
    result = repaint(image.pixels, found, inpainter or open_inpainter(), margins)
    if not len(found):
        return result
    moved = found.union().paste(image.width, image.height, *by)
    if not moved.areas[0]:
        raise MaskError(f"{by[0]},{by[1]} moves the object out of the {image.width}×{image.height} image; go less far")
    region = Region.within(moved, margins.feather)
    shifted = np.roll(image.pixels, (by[1], by[0]), axis=(0, 1))
    x1, y1, x2, y2 = region.box
    region.paste(result, shifted[y1:y2, x1:x2], region.box)
    return result


def cut_out(
    image: ImageLike,
    masks: MasksLike,
    feather: float = 1,
    *,
    crop: bool = False,
    alpha: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """What `masks` mark on a transparent background: H×W×4 uint8 RGBA, straight alpha, colours as in the image.

    Args:
        feather: pixels at the rim of the mask over which it fades out.
        crop: only the part inside its box.
        alpha: H×W, of an image that has transparent parts itself.

    Raises:
        ImageError, MaskError: an image or masks that cannot be used; no mask at all.
        InputError: a feather that is no number of pixels.
    """
    image = Image(image)
    found = as_masks(masks, image.width, image.height)
    if not len(found):
        raise MaskError("nothing to cut out: there is no mask; prompt for the object")
    region = Region.within(found.union(), feather)
    box = region.box if crop else (0, 0, image.width, image.height)
    inside = slice(box[1], box[3]), slice(box[0], box[2])
    opacity = region.inside(box) * (255 if alpha is None else alpha[inside])
    return np.dstack([image.pixels[inside], np.rint(opacity).astype(np.uint8)])


def replace_background(
    image: ImageLike,
    masks: MasksLike,
    background: Background,
    *,
    feather: float = 1,
    alpha: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """The image with everything but what `masks` mark replaced: H×W×3 uint8 RGB.

    The object's pixels keep their exact values, but for its outermost `feather` pixels, which fade into the background.

    Args:
        background: an inpainter (a `DiffusersInpainter` with a prompt, say), which sees the whole image; an image,
            which is scaled to cover the other and cut to it; or a colour.
        alpha: H×W, of an image that has transparent parts itself: the background shows through them.

    Raises:
        ImageError, MaskError: an image or masks that cannot be used; no mask at all, or nothing but mask.
        InputError: a feather that is no number of pixels, or no colour.
        SamovarError: whatever the inpainter raises.
    """
    image = Image(image)
    found = as_masks(masks, image.width, image.height)
    if not len(found):
        raise MaskError("nothing to keep: there is no mask; prompt for the object that stays")
    whole = 0, 0, image.width, image.height
    kept = Region.within(found.union(), feather)
    if alpha is not None:
        x1, y1, x2, y2 = kept.box
        kept = Region(kept.box, (kept.alpha * alpha[y1:y2, x1:x2] / 255).astype(np.float32))
    behind = _behind(image, kept.inside(whole) < 1, background)
    kept.paste(behind, np.ascontiguousarray(image.pixels), whole)
    return behind


def _behind(image: Image, gap: NDArray[np.bool_], background: Background) -> NDArray[np.uint8]:
    if isinstance(background, tuple):
        return _coloured(image, background)
    if isinstance(background, Inpainter):
        if not gap.any():
            raise MaskError("no background to replace: the masks cover the whole image; prompt for the object alone")
        return repaint(image.pixels, Masks.from_array(gap[None]), background, MaskMargins(whole=True))
    return _covering(Image(background), image.width, image.height)


def _coloured(image: Image, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    if len(colour) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
        raise InputError(f"a colour is three whole numbers from 0 to 255; got {colour!r}; e.g. (255, 255, 255)")
    return np.full((image.height, image.width, 3), colour, np.uint8)


def _covering(background: Image, width: int, height: int) -> NDArray[np.uint8]:
    """The middle of the image, scaled so that it just covers `width`×`height`."""
    scale = max(width / background.width, height / background.height)
    shown_width, shown_height = min(background.width, width / scale), min(background.height, height / scale)
    x, y = (background.width - shown_width) / 2, (background.height - shown_height) / 2
    x1, y1 = int(x), int(y)
    x2 = max(x1 + 1, min(background.width, round(x + shown_width)))
    y2 = max(y1 + 1, min(background.height, round(y + shown_height)))
    return resized(background.crop(x1, y1, x2, y2).pixels, width, height).copy()


def as_masks(masks: MasksLike, width: int, height: int) -> Masks:
    """`masks` of a `width`×`height` image, none empty. Foreground is what diffusers calls white, the upper half.

    Bool arrays as they are; floats in [0, 1] from 0.5; uint8 arrays and Pillow images of any mode from 128 of 255, but
    arrays of 0 and 1 only from 1; other integers where they are not zero.

    Raises:
        MaskError: masks of another size than the image, a mask without a pixel, or floats outside [0, 1].
    """
    found = masks if isinstance(masks, Masks) else _from_arrays(masks, width, height)
    if (found.width, found.height) != (width, height):
        raise _wrong_size(found.width, found.height, width, height)
    empty = np.flatnonzero(found.areas == 0)
    if len(empty):
        raise MaskError(
            f"expected masks that mark something; mask {empty[0]} of {len(found)} is empty; drop it, or prompt again"
        )
    return found


def _from_arrays(masks: Any, width: int, height: int) -> Masks:
    if isinstance(masks, (list, tuple)):
        if not masks:
            return Masks.empty(width, height)
        return Masks.concat(_from_arrays(mask, width, height) for mask in masks)
    array = _array(masks)
    planes = array[None] if array.ndim == 2 else array
    if planes.ndim != 3:
        raise MaskError(f"expected a mask of H×W or N×H×W; got shape {array.shape}; give one number a pixel")
    if planes.shape[1:] != (height, width):
        raise _wrong_size(planes.shape[2], planes.shape[1], width, height)
    return Masks.from_array(_foreground(planes)) if len(planes) else Masks.empty(width, height)


def _array(mask: Any) -> NDArray[Any]:
    if hasattr(mask, "getexif"):  # a Pillow image: 1-bit, grey, palette or colour
        return np.asarray(mask.convert("L")) >= 128
    if hasattr(mask, "detach"):  # a tensor, on whatever device
        mask = mask.detach().cpu()
        if str(mask.dtype) == "torch.bfloat16":  # which NumPy lacks
            mask = mask.float()
    return np.asarray(mask)


def _foreground(planes: NDArray[Any]) -> NDArray[np.bool_]:
    if planes.dtype == np.bool_:
        return planes
    if planes.dtype.kind == "f":
        if not (np.isfinite(planes).all() and planes.min() >= 0 and planes.max() <= 1):
            raise MaskError("expected a float mask in [0, 1]; got values outside; threshold logits first")
        return np.asarray(planes >= 0.5)
    if planes.dtype == np.uint8 and planes.max() > 1:
        return np.asarray(planes >= 128)
    if planes.dtype.kind in "iu":
        return np.asarray(planes != 0)
    raise MaskError(f"expected a mask of bool, integers or floats; got {planes.dtype}; convert it to bool")


def _wrong_size(width: int, height: int, image_width: int, image_height: int) -> MaskError:
    return MaskError(
        f"expected masks of the image's {image_width}×{image_height} pixels; got {width}×{height}; "
        "resize them, or give the image that they were made of"
    )
