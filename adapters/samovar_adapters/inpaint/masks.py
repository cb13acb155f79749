"""Masks in whatever form a caller has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.masks import Masks

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["MasksLike", "as_masks"]

MasksLike = Union[Masks, ArrayLike, "PIL.Image.Image", Sequence["PIL.Image.Image"]]
"""`Masks`; an H×W or N×H×W array or tensor; a Pillow image, or several."""


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
