"""Boxes, key points, ids and labels, out of the objects that tools keep them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError

__all__ = ["Columns"]

# What MMDetection, MMPose, MMTracking, supervision and plain dictionaries call the same thing.
_INSIDE = ("pred_track_instances", "pred_instances")  # a tracked frame keeps its detector's, without ids, too
_BOXES = ("bboxes", "boxes", "xyxy", "bbox")
_KEYPOINTS = ("keypoints",)
_VISIBLE = ("keypoint_scores", "keypoints_visible", "keypoint_confidence")
_IDS = ("instances_id", "track_ids", "tracker_id", "ids", "id")
_LABELS = ("label_names", "labels", "class_id", "label")


@dataclass(frozen=True, eq=False)
class Columns:
    """What is known of N instances; None for what is not.

    Attributes:
        boxes: N×4 float32, x1 y1 x2 y2 in pixels.
        keypoints: N×K×2 float32, (x, y) in pixels.
        visible: N×K float32, how sure the tool is of each key point.
        ids: N integers or strings.
        labels: N strings.
    """

    boxes: NDArray[np.float32] | None
    keypoints: NDArray[np.float32] | None
    visible: NDArray[np.float32] | None
    ids: tuple[int | str, ...] | None
    labels: tuple[str, ...] | None

    @classmethod
    def of(cls, instances: Any, names: Sequence[str] = ()) -> Columns:
        """The columns of any object, or dictionary, with attributes of the usual names.

        Args:
            instances: an `InstanceData`; a `PoseDataSample` or `DetDataSample` around one; the `TrackDataSample` of a
                single frame, as `inference_mot` gives it; a dictionary of columns; or a list of dictionaries, one an
                instance, as MMPose's inferencer writes them.
            names: what numeric labels stand for.

        Raises:
            InputError: neither boxes nor key points, columns of different lengths, a column of another shape, or the
                tracks of several frames.
        """
        if isinstance(instances, (list, tuple)):
            instances = _joined(instances)
        frames = _get(instances, ("video_data_samples",))
        if frames is not None:
            if not isinstance(frames, (list, tuple)) or len(frames) != 1:
                raise InputError(f"expected the instances of one frame; got {_count(frames)}; pass sample[i]")
            instances = frames[0]
        inner = _get(instances, _INSIDE)
        instances = instances if inner is None else inner
        boxes = _array(_get(instances, _BOXES), (4,), "boxes")
        keypoints = _array(_get(instances, _KEYPOINTS), (None, 2), "keypoints")
        if boxes is None and keypoints is None:
            raise InputError(f"expected instances with bboxes or keypoints; got {type(instances).__name__} without")
        visible = _array(_get(instances, _VISIBLE), (None,), "keypoint_scores")
        ids, labels = _column(instances, _IDS, "ids"), _column(instances, _LABELS, "labels")
        found = cls(
            boxes,
            keypoints,
            visible,
            None if ids is None else tuple(ids),
            None if labels is None else tuple(_label(value, names) for value in labels),
        )
        lengths = {name: len(column) for name, column in vars(found).items() if column is not None}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise InputError(f"expected one entry an instance in every column; got {told}")
        return found

    def __len__(self) -> int:
        column = self.keypoints if self.boxes is None else self.boxes
        return 0 if column is None else len(column)


def _get(instances: Any, names: Sequence[str]) -> Any:
    for name in names:
        value = instances.get(name) if isinstance(instances, Mapping) else getattr(instances, name, None)
        if value is not None:
            return value.detach().cpu().numpy() if hasattr(value, "detach") else value
    return None


def _array(value: Any, shape: tuple[int | None, ...], name: str) -> NDArray[np.float32] | None:
    """N×`shape` float32, where None is any length; for no instances whatever came."""
    if value is None:
        return None
    value = getattr(value, "tensor", value)  # MMDetection's HorizontalBoxes
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be numbers, one row an instance; got {value!r:.60}") from error
    if array.ndim == len(shape) + 2 and array.shape[1] == 1:  # MMPose's JSON has each box in a list of its own
        array = array[:, 0]
    if not len(array):
        return np.zeros((0, *(size or 0 for size in shape)), np.float32)
    if array.ndim != len(shape) + 1 or any(want not in (None, got) for want, got in zip(shape, array.shape[1:])):
        wanted = "×".join(["N", *("K" if size is None else str(size) for size in shape)])
        raise InputError(f"{name} must be {wanted}; got shape {array.shape}")
    return array


def _column(instances: Any, names: Sequence[str], name: str) -> list[Any] | None:
    value = _get(instances, names)
    if value is None:
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        array = np.zeros(())
    if array.ndim != 1:
        raise InputError(f"{name} must be one per instance; got {value!r:.60}")
    entries: list[Any] = array.tolist()
    return entries


def _count(frames: Any) -> str:
    return f"{len(frames)} frames" if isinstance(frames, (list, tuple)) else repr(frames)[:60]


def _joined(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Columns of rows; a column that some row lacks is left out."""
    if not all(isinstance(row, Mapping) for row in rows):
        raise InputError("a list of instances must be one dictionary an instance")
    if not rows:
        return {"bboxes": []}
    return {name: [row[name] for row in rows] for name in rows[0] if all(name in row for row in rows)}


def _label(value: Any, names: Sequence[str]) -> str:
    if isinstance(value, str):
        return value
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"labels must be numbers or text; got {value!r:.60}") from None
    return names[number] if 0 <= number < len(names) else str(number)
