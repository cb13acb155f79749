"""Pictures on the wire: base64, bare or as a data-URL, and back as PNG."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError
from samovar.image import Image
from samovar_adapters.formats import png

__all__ = ["blended", "cut", "decode", "encode", "mask_picture"]

_TINT = np.array([30, 144, 255])
_OPACITY = 0.6


def decode(text: Any, field: str) -> bytes:
    """The bytes of a picture that was sent. Raises InputError: paths on the server's disk, for one, are not opened."""
    if not isinstance(text, str) or not text:
        raise InputError(f"{field}: expected a picture in base64; got {type(text).__name__}")
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except ValueError:  # binascii.Error, and what is no ASCII
        raise InputError(f"{field}: expected a picture in base64; got {text[:40]!r}; files are not opened") from None


def encode(pixels: NDArray[Any]) -> str:
    """H×W grey, RGB or RGBA uint8 as PNG in base64."""
    return base64.b64encode(png(pixels)).decode("ascii")


def mask_picture(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """White where the object is."""
    return mask.astype(np.uint8) * 255


def blended(image: Image, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with the mask tinted."""
    result = image.pixels.copy()
    result[mask] = np.rint(_OPACITY * _TINT + (1 - _OPACITY) * result[mask]).astype(np.uint8)
    return result


def cut(image: Image, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """H×W×4: what is masked, on a transparent background."""
    return np.dstack([image.pixels, mask_picture(mask)])
