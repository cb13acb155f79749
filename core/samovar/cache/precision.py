"""How tensors are kept: as they are, in half precision, or as 8-bit integers with scales per channel.

Only tensors that an embedding names as `compressible` are ever rounded, and only where rounding keeps them finite and
near. Restoring is exact arithmetic on what was stored, so a miss and every later hit give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samovar.cache.foreign import to_view, torch_loaded
from samovar.cache.forks import forked
from samovar.cache.integers import Integers, to_integers

__all__ = ["PRECISIONS", "Encoding", "Narrowed", "Precision", "narrow", "widen"]

Precision = Literal["exact", "half", "int8"]
PRECISIONS: tuple[Precision, ...] = ("exact", "half", "int8")

Encoding = Literal["raw", "half", "int8"]

PIECE = 1 << 15
"""Numbers that torch converts in the calling thread, whatever number of threads it has."""


@dataclass(frozen=True)
class Narrowed:
    """A float tensor in its stored form.

    Attributes:
        encoding: how `values` are to be read.
        values: as stored: the tensor itself, float16, or int8 of the same shape.
        scales, axis: for int8, see `samovar.cache.integers.Integers`; else None.
        error: the largest absolute difference between a value and what is restored of it.
    """

    encoding: Encoding
    values: NDArray[Any]
    scales: NDArray[np.float32] | None = None
    axis: int | None = None
    error: float = 0.0


def narrow(array: NDArray[Any], precision: Precision) -> Narrowed:
    """`array` (float16, float32 or float64, any shape) in the stored form that `precision` asks for.

    A tensor that the form cannot hold (not finite, beyond half's range, of no size) is kept as it is.
    """
    if precision == "exact" or array.dtype.kind != "f" or array.size == 0:
        return Narrowed("raw", array)
    if precision == "int8" and array.ndim > 0:
        return _narrow_int8(array)
    if array.dtype.itemsize <= 2:
        return Narrowed("raw", array)
    with np.errstate(over="ignore", invalid="ignore"):
        values = array.astype(np.float16)
        if not np.isfinite(values).all():
            return Narrowed("raw", array)
        error = np.abs(_from_half(values) - array).max()
    return Narrowed("half", values, error=float(error))


def _narrow_int8(array: NDArray[Any]) -> Narrowed:
    with np.errstate(over="ignore", invalid="ignore"):
        work = array.astype(np.float32)
        found = to_integers(work) if np.isfinite(work).all() else None
        if found is None:
            return Narrowed("raw", array)
        narrowed = Narrowed("int8", found.values, found.scales, found.axis)
        error = np.abs(widen(narrowed, array.dtype).astype(np.float64) - array).max()
    return replace(narrowed, error=float(error)) if np.isfinite(error) else Narrowed("raw", array)


def widen(narrowed: Narrowed, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The tensor that `narrowed` stands for, as `dtype`; no copy when it is stored as it is."""
    if narrowed.encoding == "raw":
        return narrowed.values
    if narrowed.scales is None:
        return _from_half(narrowed.values).astype(dtype, copy=False)
    return Integers(narrowed.values, narrowed.scales, narrowed.axis).restore().astype(dtype, copy=False)


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
        pieces = to_view(contiguous).view(-1).split(step), to_view(floats).view(-1).split(step)
        for half, whole in zip(*pieces):
            whole.copy_(half)
        return floats
    bits = contiguous.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70000001)
    floats = bits.view(np.float32)
    floats *= np.float32(2.0**112)
    return floats
