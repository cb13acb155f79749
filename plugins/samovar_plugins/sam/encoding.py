"""What an image encoder is, and how an image gets into the square frame that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samovar.image import Image
from samovar_plugins.sam.enlarge import Enlargement, direct, through_frame

__all__ = ["Encoder", "Frame", "LongestSide", "Squeezed"]

MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""Of ImageNet's pixels, red, green and blue, on the scale 0 … 255."""


class Encoder(Protocol):
    """An image encoder. Holds weights only."""

    @property
    def frame(self) -> int:
        """Side in pixels of the square that it takes."""

    def __call__(self, frames: Tensor) -> dict[str, Tensor]:
        """B×3×S×S normalised pixels → named tensors, each B×…"""


class Frame(Protocol):
    """How an image of any size and the model's square frame correspond."""

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """What to multiply x and y of the image by."""

    def pixels(self, image: Image) -> Tensor:
        """3×S×S float32, normalised."""

    def enlargement(self, logits: tuple[int, int], width: int, height: int) -> Enlargement:
        """From logits of that many rows and columns to the image."""

    def shrink(self, mask: NDArray[np.bool_], logits: tuple[int, int]) -> NDArray[np.float32]:
        """An H×W mask of the image as the fraction of each logit's cell that it covers, float32."""


class LongestSide:
    """SAM's: the longer side fills the frame, the rest is black once normalised."""

    def __init__(self, side: int) -> None:
        self._side = side

    def used(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of the frame that the image fills."""
        factor = self._side / max(width, height)
        return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """See `Frame`."""
        rows, columns = self.used(width, height)
        return columns / width, rows / height

    def pixels(self, image: Image) -> Tensor:
        """See `Frame`. Pillow's antialiased bilinear resize of 8-bit pixels is what the models were trained with."""
        rows, columns = self.used(image.width, image.height)
        resized = PIL.Image.fromarray(image.pixels).resize((columns, rows), PIL.Image.Resampling.BILINEAR)
        frame = torch.zeros(3, self._side, self._side)
        frame[:, :rows, :columns] = _normalised(torch.from_numpy(np.array(resized)))
        return frame

    def enlargement(self, logits: tuple[int, int], width: int, height: int) -> Enlargement:
        """See `Frame`."""
        return through_frame(logits, self._side, self.used(width, height), (height, width))

    def shrink(self, mask: NDArray[np.bool_], logits: tuple[int, int]) -> NDArray[np.float32]:
        """See `Frame`."""
        height, width = mask.shape
        rows, columns = self.used(width, height)
        framed = np.zeros((self._side, self._side), np.float32)
        framed[:rows, :columns] = _covered(mask, (rows, columns))
        return _covered(framed, logits)


class Squeezed:
    """Both sides are resized to the frame, whatever the image's proportions.

    Args:
        side: of the frame.
        antialias: while making an image smaller (SAM 2; EfficientSAM does not).
        mode: how logits are enlarged to the image.
        rounded: resize 8-bit pixels to 8-bit pixels (SAM 3), rather than in floating point.
        mean, deviation: of red, green and blue in [0, 1].
    """

    def __init__(
        self,
        side: int,
        *,
        antialias: bool = False,
        mode: Literal["bilinear", "bicubic"] = "bicubic",
        rounded: bool = False,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        deviation: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        self._side = side
        self._antialias = antialias
        self._mode = mode
        self._rounded = rounded
        self._mean, self._deviation = (torch.tensor(values).view(3, 1, 1) for values in (mean, deviation))

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """See `Frame`."""
        return self._side / width, self._side / height

    def pixels(self, image: Image) -> Tensor:
        """See `Frame`. Bilinear, of pixels in [0, 1]."""
        pixels = torch.from_numpy(np.array(image.pixels)).permute(2, 0, 1)[None]
        unit = pixels if self._rounded else pixels.float() / 255
        side = (self._side, self._side)
        if unit.shape[2:] != side:
            unit = functional.interpolate(unit, side, mode="bilinear", align_corners=False, antialias=self._antialias)
        if self._rounded:
            unit = unit.float() / 255
        return (unit[0] - self._mean) / self._deviation

    def enlargement(self, logits: tuple[int, int], width: int, height: int) -> Enlargement:
        """See `Frame`."""
        return direct(logits, (height, width), self._mode)

    def shrink(self, mask: NDArray[np.bool_], logits: tuple[int, int]) -> NDArray[np.float32]:
        """See `Frame`."""
        return _covered(mask, logits)


def _normalised(pixels: Tensor) -> Tensor:
    """H×W×3 uint8 → 3×H×W float32."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return (pixels.permute(2, 0, 1).float() - mean) / deviation


def _covered(mask: NDArray[np.bool_] | NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Means over the cells of a grid of `size` rows and columns, float32."""
    picture = PIL.Image.fromarray(np.asarray(mask, np.float32))
    return np.asarray(picture.resize(size[::-1], PIL.Image.Resampling.BOX), np.float32)
