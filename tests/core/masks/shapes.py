"""Hypothesis strategies for stacks of masks, and how the reference implementation sees them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

Stack: TypeAlias = NDArray[np.bool_]


@st.composite
def stacks(draw: st.DrawFn, min_count: int = 0, max_count: int = 3, max_side: int = 150) -> Stack:
    """N×H×W bool: noise of any density, rectangles that meet at edges and corners, empty and full masks."""
    side = st.one_of(st.integers(1, 8), st.integers(1, max_side), st.sampled_from([63, 64, 65, 128]))
    count = draw(st.integers(min_count, max_count))
    height, width = min(draw(side), max_side), min(draw(side), max_side)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stack = np.zeros((count, height, width), np.bool_)
    for mask in stack:
        kind = draw(st.sampled_from(["noise", "rectangles", "rectangles", "empty", "full"]))
        if kind == "noise":
            mask[:] = rng.random((height, width)) < draw(st.sampled_from([0.01, 0.3, 0.5, 0.9]))
        elif kind == "full":
            mask[:] = True
        elif kind == "rectangles":
            for _ in range(draw(st.integers(1, 5))):
                x, y = rng.integers(0, width), rng.integers(0, height)
                w, h = rng.integers(1, width + 1), rng.integers(1, height + 1)
                mask[y : y + h, x : x + w] ^= True
    return stack


def coco_rles(stack: Stack) -> list[dict[str, Any]]:
    """What pycocotools encodes a stack as."""
    if len(stack) == 0:
        return []
    rles: list[dict[str, Any]] = coco.encode(np.asfortranarray(stack.transpose(1, 2, 0).view(np.uint8)))
    return rles


def blobs(count: int, side: int, seed: int = 0) -> Stack:
    """Smooth wavy shapes, as a segmenter gives."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side].astype(np.float32)
    stack = np.zeros((count, side, side), np.bool_)
    for mask in stack:
        x, y = rng.uniform(0.3, 0.7, 2) * side
        angle = np.arctan2(yy - y, xx - x)
        wave = 1 + 0.2 * np.sin(rng.integers(2, 9) * angle) + 0.1 * np.sin(rng.integers(9, 30) * angle)
        mask[:] = np.hypot(yy - y, xx - x) < side * rng.uniform(0.1, 0.25) * wave
    return stack
