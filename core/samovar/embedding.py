"""`Embedding`: what an encoder gives for one image, read-only, ready to be cached or decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from samovar.errors import InputError

__all__ = ["Embedding"]


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """Named tensors for one image, and what is needed to decode prompts against them.

    Attributes:
        tensors: name → array. NumPy arrays are made read-only; tensors of other libraries are kept as they are and
            must not be written to. Every array must be rebuilt from (name, dtype, shape, bytes) alone.
        width, height: the original image, in pixels (EXIF orientation applied).
        fingerprint: the encoder's part of the fingerprint of the segmenter that made it. A segmenter refuses an
            embedding that carries another than its own.
        compressible: names of the float tensors that tolerate being kept in half precision (or, where the user opts
            in, as 8-bit integers) by a cache. None by default: every tensor comes back exactly.
    """

    tensors: Mapping[str, Any]
    width: int
    height: int
    fingerprint: str
    compressible: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InputError(f"an embedding is of an image of at least 1×1 pixels; got {self.width}×{self.height}")
        unknown = self.compressible - self.tensors.keys()
        if unknown:
            raise InputError(
                f"no tensor {min(unknown)!r} in this embedding; it has {', '.join(self.tensors) or 'none'}"
            )
        for tensor in self.tensors.values():
            if isinstance(tensor, np.ndarray):
                tensor.setflags(write=False)
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    def __repr__(self) -> str:
        kept = ", ".join(f"{name} {'×'.join(map(str, one.shape))}" for name, one in self.tensors.items())
        return f"Embedding(of a {self.width}×{self.height} image by {self.fingerprint}: {kept or 'no tensors'})"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(int(tensor.nbytes) for tensor in self.tensors.values())
