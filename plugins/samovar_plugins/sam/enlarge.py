"""How low-resolution logits become a mask of the image, as weights per output row and column.

The published way enlarges logits with one or two separable interpolations, which makes 4 bytes a pixel for each mask
only to keep their signs. Interpolations compose: each row of the image is a fixed weighted sum of at most four rows of
logits, and likewise each column. `Axis` holds those weights; `outlines` evaluates them only where a mask may change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

__all__ = ["Axis", "Enlargement", "direct", "through_frame"]


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of an enlargement from n logits to N pixels: pixel Y = Σₖ weights[Y, k] · logits[starts[Y] + k].

    Attributes:
        weights: N×K float32.
        starts: N int32, never decreasing.
        first: (n−K+2) int32; pixels first[s] … first[s+1] − 1 start at logit s.
        excess: how far the weights reach below zero: 0 for (bi)linear, where a pixel lies between its logits.
    """

    weights: NDArray[np.float32]
    starts: NDArray[np.int32]
    first: NDArray[np.int32]
    excess: float

    @classmethod
    def of(cls, matrix: NDArray[np.float32]) -> Axis:
        """From the N×n matrix of a one-dimensional interpolation."""
        count = matrix.shape[1]
        used = matrix != 0
        low = used.argmax(axis=1)
        high = count - 1 - used[:, ::-1].argmax(axis=1)
        # A weight that happens to be zero must not let the starts go back.
        taps = int((high - np.minimum.accumulate(low[::-1])[::-1]).max()) + 1
        starts = np.minimum(np.minimum.accumulate(low[::-1])[::-1], count - taps)
        weights = np.take_along_axis(matrix, starts[:, None] + np.arange(taps), axis=1)
        first = np.searchsorted(starts, np.arange(count - taps + 2))
        negative = -np.minimum(weights, 0).sum(axis=1).min(initial=0)
        excess = float(-np.minimum(weights, 0).sum(axis=1).min(initial=0)) if negative else 0.0
        return cls(
            np.ascontiguousarray(weights, np.float32), starts.astype(np.int32), first.astype(np.int32), abs(excess)
        )


@dataclass(frozen=True, eq=False)
class Enlargement:
    """From h×w logits to H×W pixels."""

    rows: Axis
    columns: Axis

    @property
    def size(self) -> tuple[int, int]:
        """H, W."""
        return len(self.rows.starts), len(self.columns.starts)


def _interpolated(matrix: torch.Tensor, count: int, mode: str) -> torch.Tensor:
    """The rows of a matrix interpolated to `count`, with exactly the weights that torch uses for masks."""
    size = (count, matrix.shape[1])
    return functional.interpolate(matrix[None, None], size, mode=mode, align_corners=False)[0, 0]


@lru_cache(maxsize=64)
def _axis(logits: int, frame: int, used: int, pixels: int) -> Axis:
    with torch.inference_mode():
        enlarged = _interpolated(torch.eye(logits), frame, "bilinear")[:used]
        return Axis.of(_interpolated(enlarged, pixels, "bilinear").numpy())


@lru_cache(maxsize=64)
def _direct_axis(logits: int, pixels: int, mode: str) -> Axis:
    with torch.inference_mode():
        return Axis.of(_interpolated(torch.eye(logits), pixels, mode).numpy())


def through_frame(logits: tuple[int, int], frame: int, used: tuple[int, int], size: tuple[int, int]) -> Enlargement:
    """SAM's: bilinear to the model's square frame, cut to the part that the image used, bilinear to the image.

    Args:
        logits: their rows and columns.
        frame: side of the frame.
        used: rows and columns of the frame that the image filled.
        size: rows and columns of the image.
    """
    rows, columns = (_axis(logits[axis], frame, used[axis], size[axis]) for axis in (0, 1))
    return Enlargement(rows, columns)


def direct(logits: tuple[int, int], size: tuple[int, int], mode: str = "bilinear") -> Enlargement:
    """One interpolation straight to the image (SAM 2: bilinear, EfficientSAM: bicubic)."""
    rows, columns = (_direct_axis(logits[axis], size[axis], mode) for axis in (0, 1))
    return Enlargement(rows, columns)
