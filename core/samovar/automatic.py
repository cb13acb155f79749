"""Automatic masks: SAM's generator (Kirillov et al., "Segment Anything", 2023) over any segmenter.

Overlapping crops of the image, a grid of points in each, and of all their masks the distinct, stable ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, UnknownNameError
from samovar.image import Image
from samovar.masks import Masks, nms_boxes
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions

__all__ = ["AutomaticOptions", "HasAutomaticDefaults", "generate"]

EDGE_TOLERANCE = 20
"""A mask's side this close (pixels) to a side of its crop is taken to be cut off by the crop."""

Segment: TypeAlias = Callable[[Image, Prompts, DecodeOptions, int], Masks]
"""Answers prompts on a view of the image, at most so many in one decode call."""


@dataclass(frozen=True)
class AutomaticOptions:
    """What to look for and what to keep.

    Attributes:
        points_per_side: the grid has this many points along each side of the image.
        points_per_batch: at most this many points are decoded in one call.
        pred_iou_thresh: masks whose predicted IoU is not above it are dropped.
        stability_score_thresh: masks less stable than it under a shift of the threshold are dropped.
        stability_score_offset: that shift, in logit units.
        box_nms_thresh: of two masks whose boxes overlap more than this IoU, the better scored stays.
        crop_n_layers: also look at 4**layer overlapping crops for each layer up to this one.
        crop_nms_thresh: as `box_nms_thresh`, between crops; the mask from the smaller crop stays.
        crop_overlap_ratio: crops of the first layer overlap by this fraction of the shorter side; halved each layer.
        crop_n_points_downscale_factor: the grid of layer n has points_per_side // factor**n points a side.
        min_mask_region_area: fill holes and drop islands smaller than this many pixels; 0 leaves masks as they are.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        self._check(int, 1, 512, "points_per_side", "points_per_batch", "crop_n_points_downscale_factor")
        self._check(int, 0, 4, "crop_n_layers")
        self._check(int, 0, 1 << 40, "min_mask_region_area")
        self._check(float, 0, 1, "pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh")
        self._check(float, 0, 0.99, "crop_overlap_ratio")
        self._check(float, 0, math.inf, "stability_score_offset")

    def _check(self, kind: type, low: float, high: float, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            numeric = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
            if not numeric or not low <= value <= high:
                word = "a whole number" if kind is int else "a number"
                raise InputError(f"{name} must be {word} from {low} to {high}; got {value!r}")

    def override(self, parameters: Mapping[str, Any]) -> AutomaticOptions:
        """These options with some replaced. Raises UnknownNameError for a name that is none of them."""
        known = [field.name for field in fields(self)]
        for name in parameters:
            if name not in known:
                raise UnknownNameError.among("parameter", name, known, "see samovar.automatic.AutomaticOptions")
        return replace(self, **parameters)


@runtime_checkable
class HasAutomaticDefaults(Protocol):
    """A segmenter whose scores are on another scale than SAM's, and that says which thresholds suit them."""

    @property
    def automatic(self) -> AutomaticOptions:
        """What stands in for SAM's defaults."""


def generate(image: Image, options: AutomaticOptions, segment: Segment) -> Masks:
    """Every object of `image`: masks with scores (predicted IoUs) and stability, better ones first."""
    windows = list(crops(image.width, image.height, options.crop_n_layers, options.crop_overlap_ratio))
    found = [_in_crop(image, crop, options, segment) for crop in windows]
    masks = Masks.concat(found)
    if len(windows) > 1:
        area = [(crop.x2 - crop.x1) * (crop.y2 - crop.y1) for crop in windows]
        smaller_first = np.repeat([1 / pixels for pixels in area], [len(part) for part in found]).astype(np.float32)
        masks = masks[nms_boxes(_pixel_boxes(masks), smaller_first, options.crop_nms_thresh)]
    if options.min_mask_region_area and len(masks):
        masks = _clean(masks, options)
    return masks.replace(prompt_index=np.arange(len(masks)))


def _in_crop(image: Image, crop: Crop, options: AutomaticOptions, segment: Segment) -> Masks:
    whole = crop.layer == 0
    view = image if whole else image.crop(crop.x1, crop.y1, crop.x2, crop.y2)
    per_side = max(1, options.points_per_side // options.crop_n_points_downscale_factor**crop.layer)
    points = point_grid(per_side, view.width, view.height)
    decode = DecodeOptions(multimask=True, stability_offset=options.stability_score_offset)
    masks = segment(view, Prompts.from_points(points), decode, options.points_per_batch)
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


class Crop(NamedTuple):
    """A window x1 y1 x2 y2 of the image, in whole pixels, and the layer it belongs to (0 is the whole image)."""

    x1: int
    y1: int
    x2: int
    y2: int
    layer: int


def crops(width: int, height: int, n_layers: int, overlap_ratio: float) -> Iterator[Crop]:
    """The whole image, then layer by layer 2×2, 4×4 … crops that overlap by `overlap_ratio` of the shorter side."""
    yield Crop(0, 0, width, height, 0)
    for layer in range(1, n_layers + 1):
        side = 2**layer
        overlap = int(overlap_ratio * min(width, height) * (2 / side))
        crop_width = math.ceil((overlap * (side - 1) + width) / side)
        crop_height = math.ceil((overlap * (side - 1) + height) / side)
        for column, row in product(range(side), range(side)):
            x, y = (crop_width - overlap) * column, (crop_height - overlap) * row
            if x < width and y < height:  # an image smaller than the grid of crops has fewer of them
                yield Crop(x, y, min(x + crop_width, width), min(y + crop_height, height), layer)


def point_grid(per_side: int, width: int, height: int) -> NDArray[np.float32]:
    """per_side² points in the centres of equal cells, row by row: N×2 float32, (x, y) in pixels."""
    centres = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(centres * width, centres * height)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
