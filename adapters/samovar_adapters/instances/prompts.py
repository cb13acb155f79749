"""What other tools say of people and things in an image, as prompts: out of their objects, and out of their files."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.prompts import Prompt, Prompts

__all__ = ["Columns", "InstanceFiles", "to_prompts"]

# What MMDetection, MMPose, MMTracking, supervision and plain dictionaries call the same thing.
_INSIDE = ("pred_track_instances", "pred_instances")  # a tracked frame keeps its detector's, without ids, too
_BOXES = ("bboxes", "boxes", "xyxy", "bbox")
_KEYPOINTS = ("keypoints", "pose_keypoints_2d")
_VISIBLE = ("keypoint_scores", "keypoints_visible", "keypoint_confidence")
_IDS = ("instances_id", "track_ids", "tracker_id", "ids", "id")
_LABELS = ("label_names", "labels", "class_id", "label")

_FILES = ("instances", "instance_info", "people")  # where JSON files of MMPose and OpenPose have them
_NUMBER = re.compile(r"\d+$")
_BETWEEN = re.compile(r"\s*[,;\s]\s*")

_log = logging.getLogger("samovar.instances")

_CLEAR = 0.1  # of a box's longer side: nearer than this to a point of one's own, a neighbour's point says nothing


def to_prompts(
    instances: Any,
    width: int,
    height: int,
    *,
    names: Sequence[str] = (),
    visible_thr: float = 0.3,
    negatives: int = 4,
) -> Prompts:
    """One prompt per instance: its box, its visible key points as foreground, its neighbours' as background.

    A neighbour's key point counts where it lies in this instance's box and not close to a key point of its own: there
    it tells two people apart who overlap. An instance without anything inside the `width`×`height` image gives none.

    Args:
        instances: whatever `Columns.of` takes: MMPose's and MMTracking's results, dictionaries, lists of them.
        names: what numeric labels stand for.
        visible_thr: key points of which the tool is less sure are left out.
        negatives: the most background points of an instance; the nearest to its own are taken.

    Raises:
        InputError: as `Columns.of`; a box whose second corner is above or left of its first.
    """
    found = Columns.of(instances, names)
    own = [_visible(found, i, width, height, visible_thr) for i in range(len(found))]
    rows = []
    for i, mine in enumerate(own):
        box = _box(found, i, mine, width, height)
        if box is None:
            continue
        theirs = np.concatenate([np.zeros((0, 2), np.float32), *own[:i], *own[i + 1 :]])
        against = _against(theirs, mine, box, negatives)
        points = np.concatenate([mine, against])
        rows.append(
            Prompt(
                points=points if len(points) else None,
                point_labels=[1] * len(mine) + [0] * len(against) if len(points) else None,
                box=box if found.boxes is not None else None,
                label=None if found.labels is None else found.labels[i],
                id=None if found.ids is None else found.ids[i],
            )
        )
    return Prompts.of(rows)


def _visible(found: Columns, i: int, width: int, height: int, threshold: float) -> NDArray[np.float32]:
    """P×2: the key points of instance `i` that may be believed and lie inside the image."""
    if found.keypoints is None:
        return np.zeros((0, 2), np.float32)
    points = found.keypoints[i]
    x, y = points.T
    keep = (x >= 0) & (y >= 0) & (x < width) & (y < height)  # False for NaN
    if found.visible is not None:
        keep &= found.visible[i] >= threshold
    kept: NDArray[np.float32] = points[keep]
    return kept


def _box(found: Columns, i: int, mine: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32] | None:
    """The instance's box inside the image, or that of its key points; None if nothing of it is there."""
    if found.boxes is not None:
        x1, y1, x2, y2 = found.boxes[i].tolist()
        if x2 < x1 or y2 < y1:
            raise InputError(f"boxes must be x1 y1 x2 y2; got {found.boxes[i].tolist()} for instance {i}; convert them")
        box = np.clip(found.boxes[i], 0, np.array([width, height] * 2, np.float32))
        inside = bool(box[0] < box[2] and box[1] < box[3])
        return box if inside else None
    return np.concatenate([mine.min(axis=0), mine.max(axis=0)]) if len(mine) else None


def _against(
    theirs: NDArray[np.float32], mine: NDArray[np.float32], box: NDArray[np.float32], most: int
) -> NDArray[np.float32]:
    inside = (theirs > box[:2]).all(axis=1) & (theirs < box[2:]).all(axis=1)
    theirs = theirs[inside]
    if not len(mine) or not len(theirs):
        return np.zeros((0, 2), np.float32)
    distance = np.linalg.norm(theirs[:, None] - mine[None], axis=2).min(axis=1)
    nearest = np.argsort(distance, kind="stable")
    clear = distance[nearest] > _CLEAR * (box[2:] - box[:2]).max()
    taken: NDArray[np.float32] = theirs[nearest[clear][:most]]
    return taken


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
        keypoints, visible = _keypoints(_get(instances, _KEYPOINTS))
        if boxes is None and keypoints is None:
            raise InputError(f"expected instances with bboxes or keypoints; got {type(instances).__name__} without")
        scores = _array(_get(instances, _VISIBLE), (None,), "keypoint_scores")
        visible = visible if scores is None else scores
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


def _keypoints(value: Any) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """N×K×2, and N×K of how sure the tool is where it says so beside them: N×K×3, or COCO's flat x, y, v, x, y, v, …"""
    array = None if value is None else np.asarray(value) if np.size(value) else np.zeros((0, 0, 2), np.float32)
    if array is not None and array.dtype.kind in "iuf":
        if array.ndim == 2 and len(array) and array.shape[1] % 3 == 0:
            array = array.reshape(len(array), -1, 3)
        if array.ndim == 3 and array.shape[2] == 3:
            return _array(array[:, :, :2], (None, 2), "keypoints"), _array(array[:, :, 2], (None,), "keypoints")
    return _array(value, (None, 2), "keypoints"), None


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


class InstanceFiles:
    """What MMPose's inferencer (`--pred-out-dir`) or a tracker wrote of each image. Any number of threads may use it.

    A folder has one JSON file per image, named like it: a list of dictionaries with `keypoints`, `keypoint_scores`
    and `bbox`, or a dictionary of columns, or either under "instances", "instance_info" (MMPose's whole results) or
    "people" (OpenPose's). A text file is a tracker's, in the format of the MOT challenge (frame, id, left, top, width,
    height, …, separated by commas or blanks; a line whose seventh number is 0 is to be ignored). It belongs to the
    images whose names end in frame numbers, such as 000001.jpg or frame_0001.jpg. An image that nothing was written of
    gives no prompts; the log names the first.

    Args:
        path: the folder or the text file.

    Raises:
        InputError: no such folder or file, or a text file of another format; names the line.
    """

    def __init__(self, path: str | None) -> None:
        if not path:
            raise InputError("instances needs a folder of JSON files or a MOT text file; write instances=PATH")
        self._path = Path(path)
        if not self._path.exists():
            raise InputError(f"{path}: expected a folder of JSON files or a MOT text file; there is none")
        self._frames = None if self._path.is_dir() else _mot(self._path)
        self._claims: dict[int, str] = {}
        self._missed = False

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """The instances of each image.

        Raises:
            InputError: a file that is malformed; two images that are the same frame of one text file.
        """
        if requests is not None:
            raise PromptError("instances answers no requests; convert prompts with another source")
        return [self._of(image) for image in images]

    def _of(self, image: Image) -> Prompts:
        try:
            found = self._read(image)
            if found is None:
                if not self._missed:
                    _log.warning("%s: nothing in it is of %s", self._path, image.name)
                self._missed = True
                found = {"bboxes": []}
            return to_prompts(found, image.width, image.height)
        except InputError as error:
            raise InputError(f"{self._path}: {image.name}: {error}") from error

    def _read(self, image: Image) -> Any:
        """What was written of the image; None where nothing was."""
        stem = Path(image.name).stem
        if self._frames is not None:
            number = _NUMBER.search(stem)
            if number is None or int(number[0]) not in self._frames:
                return None
            name = image.name if image.path is None else str(image.path)
            other = self._claims.setdefault(int(number[0]), name)
            if other != name:
                raise InputError(f"frame {int(number[0])} is {other} already; give the images of one sequence")
            return self._frames[int(number[0])]
        file = self._path / f"{stem}.json"
        if not file.is_file():
            return None
        try:
            found = json.loads(file.read_text("utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{file.name}: {error}") from error
        inner = [found[key] for key in _FILES if key in found] if isinstance(found, dict) else []
        return inner[0] if inner else found


def _mot(path: Path) -> dict[int, dict[str, list[Any]]]:
    """Frame number → its boxes and ids."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    frames: dict[int, dict[str, list[Any]]] = {}
    for number, line in enumerate(lines, 1):
        parts = _BETWEEN.split(line.strip()) if line.strip() else []
        if not parts or (number == 1 and parts[0].lower() in ("frame", "frame_id", "frame_number", "#frame")):
            continue
        try:
            frame, ident, left, top, width, height = map(float, parts[:6])
            ignored = len(parts) > 6 and float(parts[6]) == 0
        except ValueError:
            frame = ident = left = top = width = height = math.nan
            ignored = False
        if not all(map(math.isfinite, (frame, ident, left, top, width, height))):
            raise InputError(f"{path}:{number}: expected frame,id,left,top,width,height,…; got {line!r:.60}")
        columns = frames.setdefault(int(frame), {"bboxes": [], "ids": []})
        if not ignored:
            columns["bboxes"].append((left, top, left + width, top + height))
            columns["ids"].append(int(ident))
    return frames
