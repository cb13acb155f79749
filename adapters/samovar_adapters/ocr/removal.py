"""The mask under which text disappears."""

from __future__ import annotations

import cv2
import numpy as np

from samovar.errors import InputError
from samovar.masks import Masks

__all__ = ["text_mask"]


def text_mask(masks: Masks, *, dilate: int = 3) -> Masks:
    """One mask to repaint: the union of `masks`, grown by `dilate` pixels in every direction.

    Letters have soft edges and shadows that a tight mask leaves behind; three pixels cover those of ordinary photos.
    Without masks it is empty.

    Raises:
        InputError: a negative `dilate`.
    """
    if dilate < 0:
        raise InputError(f"dilate must be a number of pixels, 0 or more; got {dilate}")
    union = masks.union()
    if not dilate or not union.areas[0]:
        return union
    crop, x, y = next(union.crops())
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * dilate + 1, 2 * dilate + 1))
    grown = cv2.dilate(np.pad(crop.astype(np.uint8), dilate), disc)
    left, top = max(dilate - x, 0), max(dilate - y, 0)  # what would leave the image
    grown = grown[top : top + masks.height - max(y - dilate, 0), left : left + masks.width - max(x - dilate, 0)]
    origin = [[max(x - dilate, 0), max(y - dilate, 0)]]
    return Masks.from_crops([grown], origin, masks.width, masks.height).replace(scores=union.scores)
