"""The digest of pixels: what an image is known by, whatever it came as."""

from __future__ import annotations

import os

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

__all__ = ["pixels_digest"]

THREADED = 4 << 20
"""Bytes from which several threads are worth starting."""


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    """BLAKE3 (64 hex digits) of H×W×3 RGB `pixels`: channel order, dtype, shape and bytes, each after its length."""
    pixels = np.ascontiguousarray(pixels)
    shape = ",".join(str(extent) for extent in pixels.shape)
    # A number, not blake3.AUTO: that would use a pool of the whole process, which a forked child waits for in vain.
    threads = min(4, os.cpu_count() or 1) if pixels.nbytes >= THREADED else 1
    hasher = blake3(max_threads=threads)
    for field in (b"RGB", pixels.dtype.name.encode(), shape.encode(), pixels.data.cast("B")):
        hasher.update(len(field).to_bytes(8, "little"))
        hasher.update(field)
    return hasher.hexdigest()
