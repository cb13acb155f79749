"""`supervision.Detections` in and out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from samovar.errors import InputError, MissingExtraError
from samovar.masks import Masks
from samovar.prompts import Prompts
from samovar.types import ObjectId

if TYPE_CHECKING:
    import supervision

__all__ = ["from_detections", "to_detections"]

_CLASS, _IDENT = "class_name", "samovar_id"


def from_detections(detections: supervision.Detections) -> Prompts:
    """One box prompt a detection: its class name as label and its tracker id, if it has one, as id.

    Raises:
        PromptError: boxes without area.
    """
    names = detections.data.get(_CLASS, ())
    ids = () if detections.tracker_id is None else detections.tracker_id
    return Prompts.from_boxes(
        np.asarray(detections.xyxy, np.float32).reshape(-1, 4),
        labels=[str(name) for name in names],
        ids=[int(ident) for ident in ids],
    )


def to_detections(masks: Masks, *, dense: bool = False) -> supervision.Detections:
    """Boxes, masks, scores as confidence; labels as class names numbered from 0, ids as tracker ids.

    The masks are supervision's `CompactMask`, run lengths inside each box, whose annotators and metrics take it as they
    take arrays; `np.asarray(detections.mask)` is the N×H×W bool array. A supervision that is older than `CompactMask`
    gets the array. Ids that are not numbers are kept in `data["samovar_id"]` and numbered from 1 in `tracker_id`. An
    empty mask is left out: it has no box.

    Args:
        dense: give the N×H×W bool array in any case.

    Raises:
        InputError: some masks have an id and some have none.
        MissingExtraError: supervision is not installed.
    """
    try:
        module: Any = import_module("supervision")
    except ImportError as error:
        raise MissingExtraError(f'this needs supervision ({error}); run: pip install "samovar[track]"') from error
    masks = masks[masks.areas > 0]
    labels = [label or "" for label in masks.labels]
    classes = {name: number for number, name in enumerate(dict.fromkeys(labels))}
    data: dict[str, Any] = {_CLASS: np.array(labels, dtype=str)}
    if any(ident is not None for ident in masks.ids):
        data[_IDENT] = np.array([str(ident) for ident in masks.ids])
    detections: supervision.Detections = module.Detections(
        xyxy=masks.boxes,
        mask=masks.to_array() if dense else _compact(masks),
        confidence=masks.scores,
        class_id=np.array([classes[label] for label in labels], np.int64),
        tracker_id=_numbers(masks.ids),
        data=data,
    )
    return detections


def _numbers(ids: tuple[ObjectId, ...]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    if not ids or all(ident is None for ident in ids):
        return None
    if any(ident is None for ident in ids):
        raise InputError("either every mask has an id or none has; got some of both; fill in the rest")
    if all(isinstance(ident, int) for ident in ids):
        return np.array(ids, np.int64)
    places = {ident: number for number, ident in enumerate(dict.fromkeys(ids), 1)}
    return np.array([places[ident] for ident in ids], np.int64)


def _compact(masks: Masks) -> Any:
    """Every mask as the column-major run lengths of its box."""
    try:
        module = import_module("supervision.detection.compact_mask")
    except ImportError:
        return masks.to_array()
    boxes = masks.boxes.astype(np.int32)
    counts = [
        np.array(mask.crop(box).to_coco_rle(compressed=False)[0]["counts"], np.int32) for mask, box in zip(masks, boxes)
    ]
    shapes = boxes[:, [3, 2]] - boxes[:, [1, 0]]
    return module.CompactMask(counts, shapes, boxes[:, :2], (masks.height, masks.width))
