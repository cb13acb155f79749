"""From a detector's predictions to the same predictions with masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from samovar.errors import InputError, UnknownNameError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompts
from samovar.runtime import Runtime
from samovar_adapters.rotated import Convention, corners, rotated_boxes, turned

__all__ = ["MaskOptions", "Masker"]

DENSE_LIMIT = 2 << 30  # bytes of one image's masks as a tensor


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
        rle: write COCO run lengths instead of one bool tensor: far smaller, and what `CocoMetric` makes of a tensor
            anyway; MMDetection's visualisers and dumpers want the tensor. None: run lengths where the hook finds that
            nothing but `CocoMetric` looks at the predictions, else the tensor.

    Raises:
        InputError: a value that is not as above.
    """

    score_thr: float = 0.0
    max_per_image: int | None = None
    box_expand: float = 0.0
    tighten_boxes: bool | Literal["rotated"] = False
    angle: Convention = "le90"
    existing: Literal["refuse", "replace"] = "refuse"
    rle: bool | None = None

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
                raise UnknownNameError.among("option", name, known, "see samovar_adapters.mmdet.MaskOptions")
        return cls(**given)


class Masker:
    """Turns the predicted boxes of `DetDataSample`s into masks, all images of a batch in one call of the runtime.

    Args:
        runtime: the segmenter with its cache.
        options: which boxes, and in what form their masks are written.
    """

    def __init__(self, runtime: Runtime, options: MaskOptions | None = None) -> None:
        self.runtime = runtime
        self.options = options or MaskOptions()

    def fill(self, samples: Sequence[Any], images: Sequence[Image]) -> None:
        """Write `pred_instances.masks` and `mask_scores` of every sample, in place.

        `masks` are N×H×W torch.bool (or N COCO RLE dicts) at the size of the original image, one for every box;
        `mask_scores` N float32: the box's score times the mask's predicted IoU, as in Mask Scoring R-CNN (Huang et
        al., 2019), which MMDetection ranks masks by where they are there.

        Args:
            samples: predictions in pixels of the original images, as detectors give them in test mode; their boxes may
                be rotated.
            images: their images.

        Raises:
            InputError: no boxes; masks are already there and may not be replaced; an image that is not of the sample's
                `ori_shape`; masks too large for a tensor.
            ImageError: an image cannot be read.
        """
        asked = [self._ask(sample, image) for sample, image in zip(samples, images)]
        prompts = [boxes for _, boxes in asked]
        for sample, (chosen, _), masks in zip(samples, asked, self.runtime.segment_batch(images, prompts)):
            self._write(sample, chosen, masks)

    def _ask(self, sample: Any, image: Image) -> tuple[NDArray[np.int64], Prompts]:
        """The indices of the boxes that are asked about, and these boxes as prompts."""
        predicted, options = sample.get("pred_instances"), self.options
        if predicted is None or "bboxes" not in predicted:
            raise InputError(
                f"{image.name}: expected predictions of a detector; got some without pred_instances.bboxes; "
                "take the hook out, or evaluate a model that predicts boxes"
            )
        if "masks" in predicted and options.existing == "refuse":
            raise InputError(
                f"{image.name}: the detector already predicts masks; expected boxes only; "
                'pass existing="replace" to the hook to put these in their place'
            )
        height, width = sample.ori_shape[:2]
        if (image.width, image.height) != (width, height):
            raise InputError(
                f"{image.name}: the detector saw {width}×{height} pixels but the file is {image.width}×{image.height}; "
                "expected the same image; load it without turning or cropping it before ori_shape is taken"
            )
        boxes = _upright(_array(predicted.bboxes))
        scores = _array(predicted.scores)
        x1, y1, x2, y2 = boxes.T
        inside = (x1 < x2) & (y1 < y2) & (x1 < width) & (y1 < height) & (x2 > 0) & (y2 > 0)  # False for NaN
        inside &= np.isfinite(boxes).all(axis=1) & (scores >= options.score_thr)
        chosen = np.flatnonzero(inside)
        if options.max_per_image is not None:
            best = np.argsort(-scores[chosen], kind="stable")[: options.max_per_image]
            chosen = np.sort(chosen[best])
        return chosen, Prompts.from_boxes(_expanded(boxes[chosen], options.box_expand, width, height))

    def _write(self, sample: Any, chosen: NDArray[np.int64], found: Masks) -> None:
        predicted = sample.pred_instances
        count = len(predicted.bboxes)
        place = np.full(count, len(found))  # the last of what follows is an empty mask, for the boxes not asked about
        place[chosen] = np.arange(len(found))
        masks = Masks.concat([found, Masks.from_crops([np.zeros((0, 0), bool)], [[0, 0]], found.width, found.height)])
        quality = np.append(found.scores, np.float32(0))[place]
        if "masks" in predicted:
            del predicted.masks
        predicted.masks = masks[place].to_coco_rle() if self.options.rle else _dense(masks[place])
        predicted.mask_scores = predicted.scores * torch.from_numpy(quality).to(predicted.scores)
        if self.options.tighten_boxes:
            predicted.bboxes = self._tightened(predicted.bboxes, masks[place])

    def _tightened(self, boxes: Any, masks: Masks) -> Any:
        """`boxes`, N×4 or rotated N×5, a tensor or one of MMDetection's box structures, set to their masks."""
        given = getattr(boxes, "tensor", boxes)
        full = torch.from_numpy(masks.areas > 0).to(given.device)
        if self.options.tighten_boxes == "rotated" and given.shape[1] == 4:
            boxes = given = torch.from_numpy(turned(_array(given), self.options.angle)).to(given)
        around = masks.boxes if given.shape[1] == 4 else rotated_boxes(masks, self.options.angle)
        tight = torch.where(full[:, None], torch.from_numpy(around).to(given), given)
        return tight if given is boxes else type(boxes)(tight)


def _array(values: Any) -> NDArray[np.float32]:
    """Boxes or scores, whether tensors or MMDetection's box structures, as float32."""
    tensor = getattr(values, "tensor", values)
    array: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32).numpy()
    return array


def _upright(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """N×4: the boxes themselves, or those around rotated ones."""
    if boxes.shape[1] == 4:
        return boxes
    ring = corners(boxes)
    return np.concatenate([ring.min(axis=1), ring.max(axis=1)], axis=1)


def _dense(masks: Masks) -> torch.Tensor:
    """N×H×W torch.bool, on the CPU: where metrics, visualisers and dumpers want it."""
    size = len(masks) * masks.height * masks.width
    if size > DENSE_LIMIT:
        raise InputError(
            f"{len(masks)} masks of {masks.width}×{masks.height} take {size / 2**30:.1f} GiB as a tensor; expected at "
            f"most {DENSE_LIMIT >> 30}; pass rle=True, or a smaller max_per_image"
        )
    return torch.from_numpy(masks.to_array())


def _expanded(boxes: NDArray[np.float32], by: float, width: int, height: int) -> NDArray[np.float32]:
    margin = (boxes[:, 2:] - boxes[:, :2]) * np.float32(by)
    grown = np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
    clipped: NDArray[np.float32] = np.clip(grown, 0, np.array([width, height] * 2, np.float32))
    return clipped
