"""How an image gets into the square that a model takes, and low-resolution logits back onto the image.

The published way interpolates logits once or twice, which makes 4 bytes a pixel for each mask only to keep their signs.
Interpolations compose: each row of the image is a fixed weighted sum of at most four rows of logits, and likewise each
column. `Axis` holds those weights; `outlines` evaluates them only where a mask may change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, Protocol, final

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samovar.errors import WeightsError
from samovar.image import Image

__all__ = [
    "Axis",
    "Interpolation",
    "Resize",
    "ResizeLongestSide",
    "Stretch",
    "configured",
    "direct",
    "through_square",
]


class Resize(Protocol):
    """How an image of any size and the model's square correspond."""

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """What to multiply x and y of the image by."""

    def pixels(self, image: Image) -> Tensor:
        """3×S×S float32, normalised."""

    def interpolation(self, logits: tuple[int, int], width: int, height: int) -> Interpolation:
        """From logits of that many rows and columns to the image."""

    def shrink(self, mask: NDArray[np.bool_], logits: tuple[int, int]) -> NDArray[np.float32]:
        """An H×W mask of the image as the fraction of each logit's cell that it covers, float32."""


@final
@dataclass(frozen=True)
class ResizeLongestSide:
    """SAM's: the longer side fills the square, the rest is black once normalised.

    Attributes:
        side: of the square, in pixels.
        mean, deviation: of red, green and blue on the scale 0 … 255; ImageNet's.
    """

    side: int
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    deviation: tuple[float, ...] = (58.395, 57.12, 57.375)

    def used(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of the square that the image fills."""
        factor = self.side / max(width, height)
        return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """See `Resize`."""
        rows, columns = self.used(width, height)
        return columns / width, rows / height

    def pixels(self, image: Image) -> Tensor:
        """See `Resize`. Pillow's antialiased bilinear resize of 8-bit pixels is what the models were trained with."""
        rows, columns = self.used(image.width, image.height)
        resized = PIL.Image.fromarray(image.pixels).resize((columns, rows), PIL.Image.Resampling.BILINEAR)
        square = torch.zeros(3, self.side, self.side)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float()
        square[:, :rows, :columns] = _normalised(pixels, self.mean, self.deviation)
        return square

    def interpolation(self, logits: tuple[int, int], width: int, height: int) -> Interpolation:
        """See `Resize`."""
        return through_square(logits, self.side, self.used(width, height), (height, width))

    def shrink(self, mask: NDArray[np.bool_], logits: tuple[int, int]) -> NDArray[np.float32]:
        """See `Resize`."""
        height, width = mask.shape
        rows, columns = self.used(width, height)
        framed = np.zeros((self.side, self.side), np.float32)
        framed[:rows, :columns] = _covered(mask, (rows, columns))
        return _covered(framed, logits)


@final
@dataclass(frozen=True)
class Stretch:
    """Both sides are resized to the square, whatever the image's proportions.

    Attributes:
        side: of the square, in pixels.
        antialias: while making an image smaller (SAM 2; EfficientSAM does not).
        mode: how logits are enlarged to the image.
        rounded: resize 8-bit pixels to 8-bit pixels (SAM 3), rather than in floating point.
        mean, deviation: of red, green and blue in [0, 1].
    """

    side: int
    antialias: bool = False
    mode: Literal["bilinear", "bicubic"] = "bicubic"
    rounded: bool = False
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    deviation: tuple[float, ...] = (0.229, 0.224, 0.225)

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """See `Resize`."""
        return self.side / width, self.side / height

    def pixels(self, image: Image) -> Tensor:
        """See `Resize`. Bilinear, of pixels in [0, 1]."""
        pixels = torch.from_numpy(np.array(image.pixels)).permute(2, 0, 1)[None]
        unit = pixels if self.rounded else pixels.float() / 255
        side = (self.side, self.side)
        if unit.shape[2:] != side:
            unit = functional.interpolate(unit, side, mode="bilinear", align_corners=False, antialias=self.antialias)
        if self.rounded:
            unit = unit.float() / 255
        return _normalised(unit[0], self.mean, self.deviation)

    def interpolation(self, logits: tuple[int, int], width: int, height: int) -> Interpolation:
        """See `Resize`."""
        return direct(logits, (height, width), self.mode)

    def shrink(self, mask: NDArray[np.bool_], logits: tuple[int, int]) -> NDArray[np.float32]:
        """See `Resize`."""
        return _covered(mask, logits)


def configured(resize: Resize, config: Mapping[str, Any], where: str) -> Resize:
    """`resize` with the mean and deviation that a Hugging Face image processor's configuration says.

    Args:
        config: what its preprocessor_config.json holds.
        where: the weights, for messages.

    Raises WeightsError for anything else that it says otherwise: embeddings would be silently wrong.
    """
    if not isinstance(resize, ResizeLongestSide | Stretch):
        return resize  # a model with resizing of its own reads the configuration itself
    scale = 255.0 if isinstance(resize, ResizeLongestSide) else 1.0
    size = {"longest_edge": resize.side} if scale > 1 else {"height": resize.side, "width": resize.side}
    for key, ours in {"do_resize": True, "do_rescale": True, "resample": 2, "size": size}.items():
        theirs = config.get(key, ours)
        if theirs != ours:
            raise WeightsError(
                f"{where} wants images resized with {key} {theirs!r}; expected {ours!r}: no such model here"
            )
    if abs(255 * float(config.get("rescale_factor", 1 / 255)) - 1) > 1e-3:
        raise WeightsError(
            f"{where} wants pixels scaled by {config['rescale_factor']!r}; expected 1/255: no such model here"
        )
    if not config.get("do_normalize", True):
        return replace(resize, mean=(0.0, 0.0, 0.0), deviation=(scale, scale, scale))
    mean, deviation = (
        ours if key not in config else tuple(scale * float(value) for value in config[key])
        for key, ours in (("image_mean", resize.mean), ("image_std", resize.deviation))
    )
    # What is the same to rounding stays as it is published, to the last bit.
    same = np.allclose((*mean, *deviation), (*resize.mean, *resize.deviation), rtol=1e-4)
    return resize if same else replace(resize, mean=mean, deviation=deviation)


def _normalised(pixels: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """3×H×W → 3×H×W float32."""
    middle, spread = (torch.tensor(values).view(3, 1, 1) for values in (mean, deviation))
    return (pixels - middle) / spread


def _covered(mask: NDArray[np.bool_] | NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Means over the cells of a grid of `size` rows and columns, float32."""
    image = PIL.Image.fromarray(np.asarray(mask, np.float32))
    return np.asarray(image.resize(size[::-1], PIL.Image.Resampling.BOX), np.float32)


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of an interpolation from n logits to N pixels: pixel Y = Σₖ weights[Y, k] · logits[starts[Y] + k].

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
        excess = abs(float(np.minimum(weights, 0).sum(axis=1).min(initial=0)))
        return cls(np.ascontiguousarray(weights, np.float32), starts.astype(np.int32), first.astype(np.int32), excess)


@dataclass(frozen=True, eq=False)
class Interpolation:
    """From h×w logits to H×W pixels."""

    rows: Axis
    columns: Axis


def _interpolated(matrix: torch.Tensor, count: int, mode: str) -> torch.Tensor:
    """The rows of a matrix interpolated to `count`, with exactly the weights that torch uses for masks."""
    size = (count, matrix.shape[1])
    return functional.interpolate(matrix[None, None], size, mode=mode, align_corners=False)[0, 0]


@lru_cache(maxsize=64)
def _axis(logits: int, square: int, used: int, pixels: int) -> Axis:
    with torch.inference_mode():
        enlarged = _interpolated(torch.eye(logits), square, "bilinear")[:used]
        return Axis.of(_interpolated(enlarged, pixels, "bilinear").numpy())


@lru_cache(maxsize=64)
def _direct_axis(logits: int, pixels: int, mode: str) -> Axis:
    with torch.inference_mode():
        return Axis.of(_interpolated(torch.eye(logits), pixels, mode).numpy())


def through_square(logits: tuple[int, int], square: int, used: tuple[int, int], size: tuple[int, int]) -> Interpolation:
    """SAM's: bilinear to the model's square, cut to the part that the image used, bilinear to the image.

    Args:
        logits: their rows and columns.
        square: its side.
        used: rows and columns of the square that the image filled.
        size: rows and columns of the image.
    """
    rows, columns = (_axis(logits[axis], square, used[axis], size[axis]) for axis in (0, 1))
    return Interpolation(rows, columns)


def direct(logits: tuple[int, int], size: tuple[int, int], mode: str = "bilinear") -> Interpolation:
    """One interpolation straight to the image (SAM 2: bilinear, EfficientSAM: bicubic)."""
    rows, columns = (_direct_axis(logits[axis], size[axis], mode) for axis in (0, 1))
    return Interpolation(rows, columns)
