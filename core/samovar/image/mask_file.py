"""Masks that were saved as pictures."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from samovar.image.bounds import pixel_bound
from samovar.image.sources import FileSource

__all__ = ["read_mask"]


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """An image file as a mask: H×W bool, True where it is not black, whatever its depth. Raises ImageError."""
    from samovar.image.decode import decode_mask

    source = FileSource(path)
    with source.open() as stream:
        return decode_mask(stream, source.label, pixel_bound(None, source.label))
