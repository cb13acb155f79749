"""Triton kernels. Imported only where a CUDA device and Triton are."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from samovar.cache.integers import BLOCK as STRETCH

__all__ = ["restore"]

triton: Any = import_module("triton")
tl: Any = import_module("triton.language")

BLOCK = 2048


def _restore(  # type: ignore[no-untyped-def]  # Triton looks annotations up as it does all names, and knows none of ours
    integers, scales, zeros, out, count, inner, channels, stretches, stretch: tl.constexpr, block: tl.constexpr
):
    offsets = tl.program_id(0) * block + tl.arange(0, block)
    inside = offsets < count
    channel = (offsets // inner) % channels
    rest = offsets // (inner * channels) * inner + offsets % inner
    place = channel * stretches + rest // stretch
    values = tl.load(integers + offsets, mask=inside).to(tl.float32)
    values = (values + tl.load(zeros + place, mask=inside)) * tl.load(scales + place, mask=inside)
    tl.store(out + offsets, values.to(out.dtype.element_ty), mask=inside)


_kernel = triton.jit(_restore)


def restore(integers: Any, scales: Any, axis: int | None, out: Any) -> None:
    """What `samovar.cache.integers.Integers.restore` does, in one pass on the device, into `out`'s dtype.

    Args:
        integers: contiguous int8 tensor on the device, of any shape.
        scales: contiguous, 2×C×B float32.
        axis: of the channels, or None.
        out: contiguous tensor of the same shape; float32, float16 or bfloat16.
    """
    inner = integers.numel() if axis is None else math.prod(integers.shape[axis + 1 :])
    count = integers.numel()
    _, channels, stretches = scales.shape
    grid = (triton.cdiv(count, BLOCK),)
    _kernel[grid](integers, scales[0], scales[1], out, count, inner, channels, stretches, stretch=STRETCH, block=BLOCK)
