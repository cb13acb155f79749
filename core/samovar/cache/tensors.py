"""One tensor of an entry: how it gets in, how it is kept, and how it gets out again.

It is kept as it is, in half precision, or as 8-bit integers. Only tensors that an embedding names as `compressible` are
ever rounded, and only where rounding keeps them finite and near. Restoring is exact arithmetic on what was stored, so a
miss and every later hit give the same numbers.

8-bit integers have a scale and a zero for every stretch of a channel:

    value = (integer + zero) × scale        zero is a whole number, so that this rounds once, on every device alike

Channels of an encoder differ by orders of magnitude, and many vary little around a mean of their own: with one scale
for all, or with none of them moved to its zero, most of the 256 steps would go unused.

Torch is never imported here but by processes that hold one of its tensors already, or an entry made of one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samovar.cache.concurrency import forked
from samovar.errors import CacheError

__all__ = [
    "BLOCK",
    "PRECISIONS",
    "Precision",
    "Quantized",
    "TensorRecord",
    "aligned",
    "dequantize",
    "from_torch",
    "is_torch",
    "numpy_dtype",
    "quantize",
    "scales_shape",
    "torch",
    "torch_loaded",
    "torch_view",
]

Precision = Literal["exact", "half", "int8"]
PRECISIONS: tuple[Precision, ...] = ("exact", "half", "int8")

ALIGNMENT = 64

BLOCK = 256
"""Values that share a scale and a zero, at most: 8 bytes for 256."""

PIECE = 1 << 15
"""Numbers that torch converts in the calling thread, whatever number of threads it has."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A tensor in its stored form.

    Attributes:
        encoding: how `values` are to be read.
        values: as stored: the tensor itself ("raw"), float16 ("half"), or int8 of the same shape.
        scales: for int8, 2×C×B float32: scale and zero of each of B stretches in each of C channels. A stretch is
            `BLOCK` values (the last may be shorter) of what remains of the tensor, in C order, when the channels' axis
            is taken out.
        axis: for int8, that of the channels; None where the whole tensor counts as one channel.
        error: the largest absolute difference between a value and what is restored of it.
    """

    encoding: Literal["raw", "half", "int8"]
    values: NDArray[Any]
    scales: NDArray[np.float32] | None = None
    axis: int | None = None
    error: float = 0.0


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """One tensor of an entry, in its stored form.

    Attributes:
        name: of the tensor.
        library: whose tensor the encoder gave and a hit gives back.
        dtype: of that tensor: a NumPy description (`"<f4"`, or a list for a structured type) or `"bfloat16"`.
        shape: of that tensor.
        stored: its values; for bfloat16 stored as it is, uint16 holding the bits.
        compressible: whether the segmenter said that it tolerates rounding.
    """

    name: str
    library: Literal["numpy", "torch"]
    dtype: Any
    shape: tuple[int, ...]
    stored: Quantized
    compressible: bool = False

    @classmethod
    def pack(cls, name: str, tensor: Any, precision: Precision, compressible: bool) -> TensorRecord:
        """A tensor in stored form, copied. Raises CacheError for one that cannot be rebuilt from its bytes."""
        library: Literal["numpy", "torch"] = "numpy"
        if isinstance(tensor, np.ndarray):
            if tensor.dtype.hasobject:
                raise CacheError(f"tensor {name!r} holds Python objects, which a cache cannot keep; expected numbers")
            array, dtype = tensor, _described(tensor.dtype)
        elif is_torch(tensor):
            library = "torch"
            array, dtype = from_torch(name, tensor)
        else:
            raise CacheError(
                f"tensor {name!r} is a {type(tensor).__name__}, which no cache keeps; expected a NumPy or torch one"
            )
        if dtype != "bfloat16":
            stored = quantize(array, precision)
        else:
            stored = quantize(_float_of_bits(array), precision) if precision == "int8" else Quantized("raw", array)
            stored = stored if stored.encoding != "raw" else Quantized("raw", array)
        stored = replace(stored, values=_immutable(stored.values))
        return cls(name, library, dtype, tuple(array.shape), stored, compressible)

    def arrays(self) -> Iterator[NDArray[Any]]:
        """The arrays to be kept: the values, then the scales if there are any."""
        yield self.stored.values
        if self.stored.scales is not None:
            yield self.stored.scales

    def restore(self) -> Any:
        """The tensor as the encoder gave it: a read-only NumPy array, or a torch tensor of its own."""
        if is_torch(self.stored.values):  # on a device
            return self.stored.values.clone()  # type: ignore[attr-defined]  # torch's
        array = dequantize(self.stored, self._host_dtype)
        if self.library == "numpy":
            array.setflags(write=False)
            return array
        own = np.array(array)
        if self.dtype != "bfloat16":
            return torch().from_numpy(own)
        if self.stored.encoding == "raw":
            return torch().from_numpy(own.view(np.int16)).view(torch().bfloat16)
        return torch().from_numpy(own).to(torch().bfloat16)

    def dequantized(self) -> TensorRecord:
        """The same tensor in the encoder's own dtype."""
        if self.stored.encoding == "raw":
            return self
        values = dequantize(self.stored, self._host_dtype)
        if self.dtype == "bfloat16":
            values = _bits_of_float(values)
        return replace(self, stored=Quantized("raw", _sealed(values), error=self.stored.error))

    @property
    def _host_dtype(self) -> np.dtype[Any]:
        """What NumPy makes of the stored form; it has no bfloat16, whose values are float32's."""
        return np.dtype(np.float32) if self.dtype == "bfloat16" else numpy_dtype(self.dtype)


def aligned(nbytes: int) -> int:
    """`nbytes` rounded up to the alignment of tensors in files and slabs."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _described(dtype: np.dtype[Any]) -> Any:
    return np.lib.format.dtype_to_descr(dtype)


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


def _immutable(array: NDArray[Any]) -> NDArray[Any]:
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


def _float_of_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 values of bfloat16 bits."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _bits_of_float(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """bfloat16 bits of float32 values, rounded to nearest, ties to even."""
    words = np.asarray(values, dtype=np.float32, order="C").view(np.uint32)
    rounded = words + np.uint32(0x7FFF) + ((words >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


# ------------------------------------------------------------------------------------------ quantization


def quantize(array: NDArray[Any], precision: Precision) -> Quantized:
    """`array` (float16, float32 or float64, any shape) in the stored form that `precision` asks for.

    A tensor that the form cannot hold (not finite, beyond half's range, of no size) is kept as it is.
    """
    if precision == "exact" or array.dtype.kind != "f" or array.size == 0:
        return Quantized("raw", array)
    with np.errstate(over="ignore", invalid="ignore"):
        if precision == "int8" and array.ndim > 0:
            work = array.astype(np.float32)
            found = _to_int8(work) if np.isfinite(work).all() else None
            if found is None:
                return Quantized("raw", array)
            error = np.abs(dequantize(found, array.dtype).astype(np.float64) - array).max()
            return replace(found, error=float(error)) if np.isfinite(error) else Quantized("raw", array)
        if array.dtype.itemsize <= 2:
            return Quantized("raw", array)
        values = array.astype(np.float16)
        if not np.isfinite(values).all():
            return Quantized("raw", array)
        return Quantized("half", values, error=float(np.abs(_from_half(values) - array).max()))


def dequantize(stored: Quantized, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The tensor that `stored` stands for, as `dtype`; no copy when it is stored as it is."""
    if stored.encoding == "raw":
        return stored.values
    if stored.scales is None:
        return _from_half(stored.values).astype(dtype, copy=False)
    return _from_int8(stored.values, stored.scales, stored.axis).astype(dtype, copy=False)


def scales_shape(shape: tuple[int, ...], axis: int | None) -> tuple[int, int, int]:
    """Of the scales that a tensor of that shape has. Raises IndexError for an axis that there is not."""
    channels = 1 if axis is None else shape[axis]
    return 2, channels, -(-(math.prod(shape) // max(channels, 1)) // BLOCK)


def _from_half(values: NDArray[np.float16]) -> NDArray[np.float32]:
    """float32 of finite float16 values, exactly; by torch, which has the processor do it, where torch is loaded anyway.

    NumPy's own conversion takes six times as long as what is done here without torch: sign, exponent and mantissa are
    moved to where float32 has them; what is wrong then is the exponent's bias, by a factor of 2¹¹², which one
    multiplication puts right, for subnormal numbers too.
    """
    contiguous = np.asarray(values, order="C")
    if torch_loaded():
        floats = np.empty(contiguous.shape, np.float32)
        # In a forked child piece by piece, so that torch does it in this thread: it would wait for others in vain.
        step = PIECE if forked() else max(contiguous.size, 1)
        pieces = torch_view(contiguous).view(-1).split(step), torch_view(floats).view(-1).split(step)
        for half, whole in zip(*pieces):
            whole.copy_(half)
        return floats
    bits = contiguous.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70000001)
    floats = bits.view(np.float32)
    floats *= np.float32(2.0**112)
    return floats


def _to_int8(array: NDArray[np.float32]) -> Quantized | None:
    """Finite float32 `array` as integers, with channels along whichever axis loses least; None for a tiny one."""
    best: Quantized | None = None
    lowest = np.inf
    for axis in (*range(array.ndim), None):
        rows, moved = _rows(array, axis)
        channels, length = rows.shape
        if 8 * channels * -(-length // BLOCK) > array.size // 4:
            continue  # the scales would take more than they save
        blocks = _blocks(rows)
        low, high = blocks.min(axis=2), blocks.max(axis=2)
        middle = low / 2 + high / 2
        # Steps finer than float32 has around the middle would be lost in (integer + zero).
        scale = np.maximum((high / 254 - low / 254), np.abs(middle) * np.float32(2.0**-22))
        scale = np.where(scale > np.finfo(np.float32).tiny, scale, np.float32(1)).astype(np.float32)
        zero = np.rint(middle / scale).astype(np.float32)
        integers = np.clip(np.rint(blocks / scale[:, :, None]) - zero[:, :, None], -128, 127).astype(np.int8)
        found = Quantized("int8", _whole(integers, length, moved, axis), np.stack([scale, zero]), axis)
        loss = float(np.square(dequantize(found, array.dtype) - array, dtype=np.float64).sum())
        if loss < lowest:
            best, lowest = found, loss
    return best


def _from_int8(values: NDArray[np.int8], scales: NDArray[np.float32], axis: int | None) -> NDArray[np.float32]:
    """float32 of the tensor's shape, C-contiguous."""
    rows, moved = _rows(values, axis)
    blocks = _blocks(rows.astype(np.float32))
    blocks += scales[1, :, :, None]
    blocks *= scales[0, :, :, None]
    return _whole(blocks, rows.shape[1], moved, axis)


def _rows(array: NDArray[Any], axis: int | None) -> tuple[NDArray[Any], tuple[int, ...]]:
    """`array` as channels × values, and its shape with the channels' axis in front."""
    moved = array[None] if axis is None else np.moveaxis(array, axis, 0)
    return moved.reshape(moved.shape[0], -1), moved.shape


def _blocks(rows: NDArray[Any]) -> NDArray[Any]:
    """Channels × stretches × values; the last stretch filled up with its last value."""
    block = min(BLOCK, rows.shape[1])
    missing = -rows.shape[1] % block
    padded = np.pad(rows, ((0, 0), (0, missing)), mode="edge") if missing else rows
    return padded.reshape(rows.shape[0], -1, block)


def _whole(blocks: NDArray[Any], length: int, moved: tuple[int, ...], axis: int | None) -> NDArray[Any]:
    """The inverse of `_blocks` and `_rows`."""
    shaped = blocks.reshape(blocks.shape[0], -1)[:, :length].reshape(moved)
    return np.ascontiguousarray(shaped[0] if axis is None else np.moveaxis(shaped, 0, axis))


# ------------------------------------------------------------------------------------------------- torch


def torch() -> Any:
    """The torch module. Raises ImportError where it is not installed."""
    return import_module("torch")


def torch_loaded() -> bool:
    """Whether somebody has imported torch."""
    return hasattr(sys.modules.get("torch"), "Tensor")  # not while somebody is still importing it


def is_torch(value: Any) -> bool:
    """Whether `value` is a torch tensor."""
    return torch_loaded() and isinstance(value, torch().Tensor)


def from_torch(name: str, tensor: Any) -> tuple[NDArray[Any], Any]:
    """A NumPy array of the tensor's bits, and its dtype as an entry notes it. Copies from a device.

    Raises:
        CacheError: a sparse, quantized or otherwise unusual tensor.
    """
    module = torch()
    if tensor.layout != module.strided or tensor.is_quantized:
        raise CacheError(f"tensor {name!r} is sparse or quantised, which a cache cannot keep; expected a dense one")
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    if plain.dtype == module.bfloat16:
        return plain.view(module.int16).numpy().view(np.uint16), "bfloat16"
    try:
        array: NDArray[Any] = plain.numpy()
    except TypeError as error:
        raise CacheError(
            f"tensor {name!r} is {plain.dtype}, which no cache keeps; expected float, int or bool"
        ) from error
    return array, np.lib.format.dtype_to_descr(array.dtype)


def torch_view(array: NDArray[Any]) -> Any:
    """A torch tensor over the memory of a contiguous `array`, not to be written to where the array may not be.

    uint16 is taken for the bits of int16, which more of torch's operations know.
    """
    if array.dtype == np.uint16:
        array = array.view(np.int16)
    # Torch warns about memory that it may not write to, so it is told that it may.
    return torch().from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


class _Writable:
    """The memory of an array, under an interface that says it may be written to."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
