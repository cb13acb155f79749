"""Where an image is repainted: a mask grown and softened, kept inside its box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError
from samovar.masks import Masks

__all__ = ["Box", "Region"]

Box = tuple[int, int, int, int]
"""x1 y1 x2 y2 in whole pixels, right and bottom exclusive."""


@dataclass(frozen=True, eq=False)
class Region:
    """A soft mask inside a box of the image; outside the box it is 0.

    Attributes:
        box: where it lies, clipped to the image.
        alpha: h×w float32 in [0, 1] over the box: how much of a pixel is replaced.
    """

    box: Box
    alpha: NDArray[np.float32]

    @classmethod
    def around(cls, mask: Masks, dilate: float, feather: float) -> Region:
        """One non-empty mask, grown by `dilate` pixels and then fading out over `feather` more.

        Distances are Euclidean. A pixel farther than `dilate + feather` from the mask has alpha 0.
        """
        (crop, x, y), *_ = mask.crops()
        reach = math.ceil(dilate + feather)
        height, width = crop.shape
        box = (
            max(0, x - reach),
            max(0, y - reach),
            min(mask.width, x + width + reach),
            min(mask.height, y + height + reach),
        )
        inside = np.zeros((box[3] - box[1], box[2] - box[0]), np.bool_)
        inside[y - box[1] : y - box[1] + height, x - box[0] : x - box[0] + width] = crop
        if reach == 0:
            return cls(box, inside.astype(np.float32))
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        alpha = np.clip((dilate + feather + 1 - distance) / (feather + 1), 0, 1)
        alpha[distance > dilate + feather] = 0
        return cls(box, alpha.astype(np.float32))

    @classmethod
    def within(cls, mask: Masks, feather: float) -> Region:
        """One non-empty mask that fades out over its outermost `feather` pixels, but not where the image ends.

        Nothing beyond the mask is taken along, so that a cut-out has no halo of what was behind it.

        Raises:
            InputError: a feather that is no number of pixels.
        """
        if not 0 <= feather < 1 << 15:
            raise InputError(f"feather must be a number of pixels from 0 to 32767; got {feather!r}; 0 is for none")
        (crop, x, y), *_ = mask.crops()
        height, width = crop.shape
        # A rim of background where the image goes on beyond the box; none where the image itself ends.
        rim = (int(y > 0), int(y + height < mask.height)), (int(x > 0), int(x + width < mask.width))
        padded = np.pad(crop, rim).astype(np.uint8)
        if padded.all():  # the whole image
            return cls((x, y, x + width, y + height), crop.astype(np.float32))
        distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        distance = distance[rim[0][0] : rim[0][0] + height, rim[1][0] : rim[1][0] + width]
        return cls((x, y, x + width, y + height), np.clip(distance / (feather + 1), 0, 1).astype(np.float32))

    def inside(self, box: Box) -> NDArray[np.float32]:
        """Its alpha over `box`, which contains its own box: h×w float32."""
        alpha = np.zeros((box[3] - box[1], box[2] - box[0]), np.float32)
        x1, y1, x2, y2 = self.box
        alpha[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]] = self.alpha
        return alpha

    def paste(self, pixels: NDArray[np.uint8], painted: NDArray[np.uint8], box: Box) -> None:
        """Blend `painted`, which shows `box`, into `pixels` (H×W×3), in place; where alpha is 0 nothing is written."""
        x1, y1, x2, y2 = self.box
        old = pixels[y1:y2, x1:x2]
        new = painted[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]]
        touched = self.alpha > 0
        weight = self.alpha[touched][:, None]
        mixed = weight * new[touched] + (1 - weight) * old[touched]
        old[touched] = np.rint(mixed).astype(np.uint8)
