"""`Part`: one tensor of an entry, and how it gets in and out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.cache.foreign import Library, from_torch, is_torch, to_torch
from samovar.cache.precision import Narrowed, Precision, narrow, widen
from samovar.errors import CacheError

__all__ = ["Part", "aligned", "numpy_dtype", "pack_part", "widened_part"]

ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class Part:
    """One tensor of an entry, in its stored form.

    Attributes:
        name: of the tensor.
        library: whose tensor the encoder gave and a hit gives back.
        dtype: of that tensor: a NumPy description (`"<f4"`, or a list for a structured type) or `"bfloat16"`.
        shape: of that tensor.
        stored: its values; for bfloat16 stored as it is, uint16 holding the bits.
        compressible: whether the segmenter said that it tolerates rounding.
        derived: worked out from the others; only tiers on a device keep it.
    """

    name: str
    library: Library
    dtype: Any
    shape: tuple[int, ...]
    stored: Narrowed
    compressible: bool = False
    derived: bool = False

    def arrays(self) -> Iterator[NDArray[Any]]:
        """The arrays to be kept: the values, then the scales if there are any."""
        yield self.stored.values
        if self.stored.scales is not None:
            yield self.stored.scales

    def restore(self) -> Any:
        """The tensor as the encoder gave it: a read-only NumPy array, or a torch tensor of its own."""
        kept: Any = self.stored.values
        if is_torch(kept):  # on a device
            return kept.clone()
        bits = self.dtype == "bfloat16"
        target = np.dtype(np.float32) if bits else numpy_dtype(self.dtype)
        if self.library == "torch":
            return to_torch(widen(self.stored, target), bits, raw=self.stored.encoding == "raw")
        array = widen(self.stored, target)
        array.setflags(write=False)
        return array


def aligned(nbytes: int) -> int:
    """`nbytes` rounded up to the alignment of tensors in files and slabs."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def pack_part(name: str, tensor: Any, precision: Precision, compressible: bool) -> Part:
    library: Library = "numpy"
    if isinstance(tensor, np.ndarray):
        array, dtype = tensor, _description(name, tensor.dtype)
    elif is_torch(tensor):
        library = "torch"
        array, dtype = from_torch(name, tensor)
    else:
        raise CacheError(
            f"tensor {name!r} is a {type(tensor).__name__}, which no cache keeps; expected a NumPy or torch one"
        )
    shape = tuple(array.shape)
    if dtype == "bfloat16":
        stored = narrow(_float_of_bits(array), precision) if precision == "int8" else Narrowed("raw", array)
        stored = stored if stored.encoding != "raw" else Narrowed("raw", array)
    else:
        stored = narrow(array, precision)
    frozen = Narrowed(stored.encoding, _frozen(stored.values), stored.scales, stored.axis, stored.error)
    return Part(name, library, dtype, shape, frozen, compressible)


def numpy_dtype(description: Any) -> np.dtype[Any]:
    """The dtype that an entry notes as `description`. Raises ValueError, also for Python objects."""
    return _named_dtype(description) if isinstance(description, str) else _described_dtype(description)


@lru_cache(maxsize=256)
def _named_dtype(name: str) -> np.dtype[Any]:
    return _described_dtype(name)


def _described_dtype(description: Any) -> np.dtype[Any]:
    found: np.dtype[Any] = np.lib.format.descr_to_dtype(description)
    if found.hasobject:
        raise ValueError("a tensor of Python objects")
    return found


def _description(name: str, dtype: np.dtype[Any]) -> Any:
    if dtype.hasobject:
        raise CacheError(f"tensor {name!r} holds Python objects, which a cache cannot keep; expected numbers")
    return np.lib.format.dtype_to_descr(dtype)


def _float_of_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 values of bfloat16 bits."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that cannot be made writable again: its memory is an immutable `bytes` object."""
    if array.size == 0 or array.dtype.itemsize == 0:
        empty = np.zeros(array.shape, array.dtype)
        empty.setflags(write=False)
        return empty
    return np.frombuffer(array.tobytes(), dtype=array.dtype).reshape(array.shape)


def _sealed(array: NDArray[Any]) -> NDArray[Any]:
    """A view of an array of our own that cannot be made writable again, since nothing under it is."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base.setflags(write=False)
        base = base.base
    return array[...]


def widened_part(part: Part) -> Part:
    """The same tensor in the encoder's own dtype."""
    if part.stored.encoding == "raw":
        return part
    target = np.dtype(np.float32) if part.dtype == "bfloat16" else numpy_dtype(part.dtype)
    values = widen(part.stored, target)
    if part.dtype == "bfloat16":
        values = _bits_of_float(values)
    raw = Narrowed("raw", _sealed(values), error=part.stored.error)
    return Part(part.name, part.library, part.dtype, part.shape, raw, part.compressible)


def _bits_of_float(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """bfloat16 bits of float32 values, rounded to nearest, ties to even."""
    words = np.asarray(values, dtype=np.float32, order="C").view(np.uint32)
    rounded = words + np.uint32(0x7FFF) + ((words >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)
