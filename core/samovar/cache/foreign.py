"""Torch tensors without importing torch: only a process that already holds one ever meets this code."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samovar.errors import CacheError

__all__ = [
    "Library",
    "describe_torch",
    "from_torch",
    "is_torch",
    "own_copy",
    "to_torch",
    "to_view",
    "torch",
    "torch_loaded",
]

Library = Literal["numpy", "torch"]


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
        CacheError: a sparse, quantised or otherwise unusual tensor.
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


def describe_torch(tensor: Any) -> Any:
    """The dtype of a torch tensor as an entry notes it."""
    module = torch()
    if tensor.dtype == module.bfloat16:
        return "bfloat16"
    return np.lib.format.dtype_to_descr(module.empty(0, dtype=tensor.dtype).numpy().dtype)


def own_copy(tensor: Any, *, rounded: bool) -> Any:
    """A contiguous copy on the tensor's device; `rounded` through float16, unless that would not hold all of it.

    The same decision as on the CPU, without waiting for the device to tell.
    """
    module = torch()
    plain = tensor.detach().clone(memory_format=module.contiguous_format)
    if not rounded or plain.dtype not in (module.float32, module.float64) or plain.numel() == 0:
        return plain
    half = plain.to(module.float16).to(plain.dtype)
    return module.where((half - plain).isfinite().all(), half, plain)


def to_torch(array: NDArray[Any], bits: bool, *, raw: bool) -> Any:
    """A torch tensor holding a copy of `array`; `bits`: it stands for bfloat16; `raw`: it holds the bits of that."""
    module = torch()
    own = np.array(array)
    if not bits:
        return module.from_numpy(own)
    if raw:
        return module.from_numpy(own.view(np.int16)).view(module.bfloat16)
    return module.from_numpy(own).to(module.bfloat16)


def to_view(array: NDArray[Any]) -> Any:
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
