"""The parameters of automatic mask generation, under the names that SAM published."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

from samovar.errors import InputError, UnknownNameError

__all__ = ["AutomaticOptions", "HasAutomaticDefaults"]


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
