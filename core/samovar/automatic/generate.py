"""From a grid of points to a set of distinct, stable masks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samovar.automatic.grid import Crop, crops, point_grid
from samovar.automatic.options import AutomaticOptions, HasAutomaticDefaults
from samovar.masks import Masks, nms_boxes
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.runtime import Runtime

__all__ = ["generate"]

EDGE_TOLERANCE = 20
"""A mask's side this close (pixels) to a side of its crop is taken to be cut off by the crop."""


def generate(
    runtime: Runtime, image: Image, parameters: Mapping[str, Any], cancel: threading.Event | None = None
) -> Masks:
    """Every object of `image`: masks with scores (predicted IoUs) and stability, better ones first.

    `parameters` override the segmenter's own defaults, where it `HasAutomaticDefaults`, or else SAM's.
    """
    segmenter = runtime.segmenter
    defaults = segmenter.automatic if isinstance(segmenter, HasAutomaticDefaults) else AutomaticOptions()
    options = defaults.override(parameters)
    windows = list(crops(image.width, image.height, options.crop_n_layers, options.crop_overlap_ratio))
    found = [_in_crop(runtime, image, crop, options, cancel) for crop in windows]
    masks = Masks.concat(found)
    if len(windows) > 1:
        area = [(crop.x2 - crop.x1) * (crop.y2 - crop.y1) for crop in windows]
        smaller_first = np.repeat([1 / pixels for pixels in area], [len(part) for part in found]).astype(np.float32)
        masks = masks[nms_boxes(_pixel_boxes(masks), smaller_first, options.crop_nms_thresh)]
    if options.min_mask_region_area and len(masks):
        masks = _clean(masks, options)
    return masks.replace(prompt_index=np.arange(len(masks)))


def _in_crop(
    runtime: Runtime, image: Image, crop: Crop, options: AutomaticOptions, cancel: threading.Event | None
) -> Masks:
    whole = crop.layer == 0
    view = image if whole else image.crop(crop.x1, crop.y1, crop.x2, crop.y2)
    per_side = max(1, options.points_per_side // options.crop_n_points_downscale_factor**crop.layer)
    points = point_grid(per_side, view.width, view.height)
    decode = DecodeOptions(multimask=True, stability_offset=options.stability_score_offset)
    pairs = [(view, Prompts.from_points(points))]
    [masks] = runtime.stream(pairs, decode, max_prompts=options.points_per_batch, cancel=cancel)
    stability = masks.stability if masks.stability is not None else np.ones(len(masks), np.float32)
    good = (masks.scores > options.pred_iou_thresh) & (stability >= options.stability_score_thresh)
    masks = masks[good & (masks.areas > 0)]
    masks = masks[~_cut_off(masks, crop, image)]
    masks = masks[nms_boxes(_pixel_boxes(masks), masks.scores, options.box_nms_thresh)]
    return masks if whole else masks.paste(image.width, image.height, crop.x1, crop.y1)


def _cut_off(masks: Masks, crop: Crop, image: Image) -> NDArray[np.bool_]:
    """N bool: which masks end at a side of their crop that is not a side of the image."""
    frame = np.array([crop.x1, crop.y1, crop.x2, crop.y2])
    boxes = _pixel_boxes(masks) + np.array([crop.x1, crop.y1, crop.x1, crop.y1])
    at_crop = np.abs(boxes - frame) <= EDGE_TOLERANCE
    at_image = np.abs(boxes - np.array([0, 0, image.width, image.height])) <= EDGE_TOLERANCE
    return np.asarray((at_crop & ~at_image).any(axis=1))


def _pixel_boxes(masks: Masks) -> NDArray[np.float32]:
    """N×4 first and last pixel columns and rows, as SAM's generator measures boxes: the last one inclusive."""
    return masks.boxes - np.array([0, 0, 1, 1], np.float32)


def _clean(masks: Masks, options: AutomaticOptions) -> Masks:
    """Small holes filled and small islands dropped; of masks that became alike, one that needed no change stays."""
    cleaned = masks.remove_small_regions(options.min_mask_region_area)
    unchanged = cleaned.areas == masks.areas
    keep = nms_boxes(
        _pixel_boxes(cleaned), unchanged.astype(np.float32), max(options.box_nms_thresh, options.crop_nms_thresh)
    )
    return cleaned[keep]
