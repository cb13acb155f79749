"""NumPy arrays and tensors to RGB pixels, and the digest that pixels are known by."""

from __future__ import annotations

import os
from typing import Any, Protocol, runtime_checkable

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from samovar.errors import image_error, one_line

__all__ = [
    "RANGE_ADVICE",
    "SupportsTensor",
    "ValueRange",
    "check_value_range",
    "from_array",
    "from_tensor",
    "pixels_digest",
    "scale",
]

ValueRange = tuple[float, float]
"""(lo, hi): the values that become 0 and 255; between them linear, beyond them clipped."""

RANGE_ADVICE = "say what is black and what is white: Image(…, value_range=(lo, hi))"
_CHANNELS = (1, 3, 4)
_ROWS = 32
_THREADED = 4 << 20  # bytes from which several threads are worth starting


@runtime_checkable
class SupportsTensor(Protocol):
    """What is asked of a torch tensor, so that torch itself need not be imported."""

    def detach(self) -> Any: ...
    def cpu(self) -> Any: ...


def check_value_range(value_range: Any, label: str) -> ValueRange | None:
    """`value_range` as two finite floats lo < hi, or None. Raises ImageError."""
    if value_range is None:
        return None
    try:
        lo, hi = (float(bound) for bound in value_range)
    except (TypeError, ValueError):
        lo = hi = np.nan
    if not (np.isfinite(lo) and np.isfinite(hi) and lo < hi):
        raise image_error(label, "value_range=(lo, hi) with lo < hi", repr(value_range), "pass e.g. (0, 1)")
    return lo, hi


def scale(values: NDArray[Any], value_range: ValueRange, label: str) -> NDArray[np.uint8]:
    """`values` of any real dtype with lo → 0 and hi → 255, rounded and clipped. Raises ImageError for NaN."""
    lo, hi = value_range
    wide = np.float32 if values.dtype.kind == "f" and values.dtype.itemsize <= 4 else np.float64
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):  # a few rows at a time: no second, wide copy of the whole image
        rows = values[start : start + _ROWS].astype(wide)
        if np.isnan(rows).any():
            raise image_error(label, "numbers", "NaN pixels", "replace them, e.g. with numpy.nan_to_num")
        result[start : start + _ROWS] = _linear(rows, lo, hi)
    return result


def _linear(values: NDArray[Any], lo: float, hi: float) -> NDArray[np.uint8]:
    """Overwrites `values`."""
    np.clip(values, lo, hi, out=values)  # before the arithmetic: infinities stay out of it
    values -= lo
    values *= 255.0
    values /= hi - lo
    values += 0.5  # and truncated, not rint: exact halves all go the same way
    np.minimum(values, 255.0, out=values)
    scaled: NDArray[np.uint8] = values.astype(np.uint8)
    return scaled


def from_array(array: NDArray[Any], label: str, value_range: ValueRange | None) -> NDArray[np.uint8]:
    """H×W×3 uint8 RGB, read-only, from H×W, H×W×1, H×W×3 or H×W×4 (RGB order; alpha is dropped).

    uint8 is taken as it is. Other integers and floats need a `value_range`. bool is refused: it is a mask.
    The array is copied unless nobody can write to it any more.

    Raises:
        ImageError: another shape or dtype, a missing or needless `value_range`, NaN.
    """
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise image_error(label, "an H×W, H×W×1, H×W×3 or H×W×4 array", f"shape {array.shape}", _hint(array))
    kind = array.dtype.kind
    if kind == "b":
        raise image_error(label, "pixels", "a bool array", "pass a mask as Prompt(mask=…), or numpy.uint8(array) * 255")
    if kind not in "iuf":
        raise image_error(label, "uint8 pixels", f"dtype {array.dtype}", "convert it with astype(numpy.uint8)")
    colours = array[:, :, None] if array.ndim == 2 else array[:, :, :3]
    if array.dtype == np.uint8:
        if value_range is not None:
            raise image_error(label, "no value_range for uint8 pixels", value_range, "leave it out")
    elif value_range is None:
        raise image_error(label, "uint8 pixels", array.dtype, RANGE_ADVICE)
    else:
        colours = scale(colours, value_range, label)
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    elif np.may_share_memory(colours, array) and not (colours.flags.c_contiguous and _immutable(array)):
        colours = np.array(colours, order="C", copy=True)
    pixels = np.ascontiguousarray(colours)
    pixels.setflags(write=False)
    return pixels


def from_tensor(tensor: SupportsTensor, label: str, value_range: ValueRange | None) -> NDArray[np.uint8]:
    """H×W×3 uint8 RGB, read-only, from a tensor on any device.

    A tensor of three axes is C×H×W if its first axis has 1, 3 or 4 entries, as PyTorch's images have it; otherwise
    H×W×C. Raises ImageError as `from_array` does.
    """
    try:
        local = tensor.detach().cpu()
        try:
            array = local.numpy()
        except TypeError:  # bfloat16, which NumPy does not have
            array = local.float().numpy()
    except Exception as error:  # whatever the tensor's library has to say
        raise image_error(label, "a dense tensor", one_line(error), "make one that .numpy() accepts") from error
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[0] in _CHANNELS:
        array = array.transpose(1, 2, 0)
    return from_array(array, label, value_range)


def _immutable(array: NDArray[Any]) -> bool:
    """Whether no one can write to this memory: neither through `array` nor through what it is a view of."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable or (owner.base is None and owner.flags.owndata):
            return False  # who owns the data can make itself writeable again
        owner = owner.base
    return isinstance(owner, bytes)


def _hint(array: NDArray[Any]) -> str:
    if array.ndim == 4 and array.shape[0] == 1:
        return "pass one image: array[0]"
    if array.ndim == 4:
        return "pass one image at a time"
    if array.ndim == 3 and array.shape[0] in _CHANNELS:
        return "move the channels last: array.transpose(1, 2, 0)"
    return "reshape it"


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    """BLAKE3 (64 hex digits) of H×W×3 RGB `pixels`: channel order, dtype, shape and bytes, each after its length."""
    pixels = np.ascontiguousarray(pixels)
    shape = ",".join(str(extent) for extent in pixels.shape)
    # A number, not blake3.AUTO: that would use a pool of the whole process, which a forked child waits for in vain.
    threads = min(4, os.cpu_count() or 1) if pixels.nbytes >= _THREADED else 1
    hasher = blake3(max_threads=threads)
    for field in (b"RGB", pixels.dtype.name.encode(), shape.encode(), pixels.data.cast("B")):
        hasher.update(len(field).to_bytes(8, "little"))
        hasher.update(field)
    return hasher.hexdigest()
