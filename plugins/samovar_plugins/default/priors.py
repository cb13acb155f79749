"""Mask prompts: how much of each leaf a rough mask, or an earlier answer's low-res logits, claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene import Scene

if TYPE_CHECKING:
    from samovar.masks import Masks

__all__ = ["leaf_prior"]


def leaf_prior(scene: Scene, mask: Masks | NDArray[np.float32]) -> NDArray[np.float32]:
    """n float32 in 0…1: the mean of the mask over each leaf.

    Args:
        mask: one mask at the image's size, or h×w float32 logits covering the whole image at any resolution.
    """
    if isinstance(mask, np.ndarray):
        claimed = 1 / (1 + np.exp(-np.clip(mask, -20, 20)))
    else:
        claimed = mask.to_array()[0]
    frame = scene.frame
    claimed = claimed.astype(np.float32)
    shrink = claimed.shape[0] > frame.rows or claimed.shape[1] > frame.cols
    way = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    field = cv2.resize(claimed, (frame.cols, frame.rows), interpolation=way)
    total = np.bincount(scene.labels.ravel(), weights=field.ravel(), minlength=len(scene.area))
    return np.asarray(np.clip(total / scene.area, 0, 1), np.float32)
