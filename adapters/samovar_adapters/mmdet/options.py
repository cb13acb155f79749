"""What may be asked of the masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from samovar.errors import InputError, UnknownNameError
from samovar_adapters.rotated.boxes import Convention

__all__ = ["MaskOptions"]


@dataclass(frozen=True)
class MaskOptions:
    """How predicted boxes become masks. Boxes, labels and scores stay as the detector gave them.

    Attributes:
        score_thr: boxes scored below it get an empty mask of `mask_scores` 0.
        max_per_image: so do all but the best-scored so many; None for no limit.
        box_expand: how much larger than the box its prompt is, as a fraction of the box on every side: 0.1 makes it
            1.2 times as wide and as high. For detectors that cut objects short.
        tighten_boxes: replace every box by that of its mask, where the mask is not empty: an upright one by an upright
            one and a rotated one (N×5, as MMRotate's detectors predict them) by a rotated one; with "rotated", every
            box by a rotated one, so that a detector of upright boxes can be evaluated on DOTA. Changes the box AP.
        angle: how rotated boxes are named when they are tightened.
        existing: what to do with a detector that already predicts masks: "refuse" it or "replace" them.
        rle: write COCO run lengths instead of one bool tensor: far smaller, read by MMDetection's metrics and not by
            its visualisers and dumpers.

    Raises:
        InputError: a value that is not as above.
    """

    score_thr: float = 0.0
    max_per_image: int | None = None
    box_expand: float = 0.0
    tighten_boxes: bool | Literal["rotated"] = False
    angle: Convention = "le90"
    existing: Literal["refuse", "replace"] = "refuse"
    rle: bool = False

    def __post_init__(self) -> None:
        if self.angle not in get_args(Convention):
            raise InputError(f"angle must be one of {', '.join(get_args(Convention))}; got {self.angle!r}")
        if not 0 <= self.score_thr <= 1:
            raise InputError(f"score_thr must be between 0 and 1; got {self.score_thr}")
        if self.max_per_image is not None and self.max_per_image < 0:
            raise InputError(f"max_per_image must be a number of boxes, or None for all; got {self.max_per_image}")
        if not -0.5 < self.box_expand < 10:
            raise InputError(f"box_expand must be a fraction of the box, such as 0.1; got {self.box_expand}")
        if self.tighten_boxes not in (True, False, "rotated"):
            raise InputError(f'tighten_boxes must be True, False or "rotated"; got {self.tighten_boxes!r}')
        if self.existing not in ("refuse", "replace"):
            raise InputError(f'existing must be "refuse" or "replace"; got {self.existing!r}')

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> MaskOptions:
        """The options that a config or a caller names. Raises UnknownNameError for one that does not exist."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise UnknownNameError.among("option", name, known, "see samovar_adapters.mmdet.options.MaskOptions")
        return cls(**given)
