"""Label Studio's JSON: tasks to import, whose regions are masks, and exports, whose regions are prompts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from samovar.errors import InputError, MaskError, PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar_adapters.formats import (
    Annotation,
    AnnotationSource,
    ImageFileSink,
    NameIndex,
    Wanted,
    compact,
    files_below,
    name_of,
)
from samovar_adapters.label_studio.regions import ImageSize, decode_brush, encode_brush

__all__ = [
    "LabelStudioSink",
    "LabelStudioSource",
    "annotation_of",
    "boxes",
    "drawn",
    "image_name",
    "masks",
    "points",
    "task_of",
]

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


class LabelStudioSink(ImageFileSink):
    """A JSON file for every image, with one task that Label Studio imports: its masks are a prediction's brush regions.

    They fit `<BrushLabels name="brush" toName="image">` and `<Image name="image" value="$image"/>`.

    Args:
        path: a folder, made if missing, or a `.json` file for one image.

    Raises:
        InputError: a path that cannot be written.
    """

    name = "label-studio"
    suffix = ".json"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The file's bytes."""
        return compact([task_of(key, masks)]) + b"\n"


def task_of(key: str, masks: Masks) -> dict[str, Any]:
    """A task for the image `key` with the masks as regions: pixels, labels, scores and ids that are text, exactly."""
    score = float(masks.scores.mean()) if len(masks) else 0.0
    result = [_region(index, mask) for index, mask in enumerate(masks) if mask.areas[0]]
    return {"data": {"image": key}, "predictions": [{"model_version": "samovar", "score": score, "result": result}]}


def _region(index: int, mask: Masks) -> dict[str, Any]:
    label, ident = mask.labels[0], mask.ids[0]
    value: dict[str, Any] = {"format": "rle", "rle": encode_brush(mask)}
    if label is not None:
        value["brushlabels"] = [label]
    return {
        "id": f"mask-{index}" if ident is None else str(ident),
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels" if label is not None else "brush",
        "original_width": mask.width,
        "original_height": mask.height,
        "image_rotation": 0,
        "score": float(mask.scores[0]),
        "value": value,
    }


def annotation_of(where: str, region: Mapping[str, Any], width: int, height: int) -> Annotation | None:
    """What a region of an export says; None for one that is no area and no point (a choice, a relation).

    Raises:
        PromptError, MaskError: a malformed region.
    """
    value, kind = region.get("value"), str(region.get("type", "")).removesuffix("labels")
    if not isinstance(value, Mapping) or kind not in ("brush", "polygon", "rectangle", "ellipse", "keypoint"):
        return None
    drawn_on = region.get("original_width", width), region.get("original_height", height)
    if drawn_on != (width, height):
        raise PromptError(
            f"{where}: it is of a {drawn_on[0]}×{drawn_on[1]} image but this one is {width}×{height}; "
            "expected annotations of this very image"
        )
    size = ImageSize(width, height)
    names = value.get(str(region.get("type")))
    label = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    ident = region.get("id") if isinstance(region.get("id"), str) else None
    if kind == "keypoint":
        return Annotation(where, label, ident, points=[size.point(value)])
    if kind == "brush":
        rle = value.get("rle")
        mask = decode_brush(rle if isinstance(rle, list) else [], width, height)
        return Annotation(where, label, ident, outline=mask)
    draw = {"polygon": size.polygon, "rectangle": size.rectangle, "ellipse": size.ellipse}[kind]
    ring = draw(value)
    low, high = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    return Annotation(where, label, ident, box=(*low, *high), outline=[ring.astype(np.float32)])


def image_name(reference: str) -> str:
    """The file name in a task's address of an image, as it was before it was uploaded."""
    parts = urlsplit(reference)
    path = unquote(parts.path)
    if path == "/data/local-files/":
        return parse_qs(parts.query).get("d", [""])[0]
    name = path.rpartition("/")[2]
    return _UPLOAD.sub("", name) if path.startswith("/data/upload/") else path.lstrip("/") or reference


def regions_of(task: Mapping[str, Any]) -> Sequence[Any]:
    """The regions of the task's first annotation that was not cancelled, else of its first prediction."""
    for group in ("annotations", "predictions"):
        for one in task.get(group) or ():
            if isinstance(one, Mapping) and not one.get("was_cancelled") and isinstance(one.get("result"), list):
                return list(one["result"])
    return []


class LabelStudioSource(AnnotationSource):
    """The regions in Label Studio's JSON exports: one file, or a folder of them.

    A task belongs to the image whose file name its address ends in; what uploading put before the name is left out. Of
    a task the first annotation counts, or without any the first prediction.

    Args:
        path: a file or a folder.
        wanted: "drawn" (areas as boxes, key points as points), "boxes", "points" or "masks".

    Raises:
        InputError: no such file, or not an export.
    """

    def __init__(self, path: str | None, wanted: Wanted = "drawn") -> None:
        super().__init__(wanted)
        if not path:
            raise InputError("label-studio needs an export; name it, as in label-studio=export.json")
        root = Path(path)
        if not root.exists():
            raise InputError(f"{path}: no such file or folder; expected Label Studio's JSON export")
        files = list(files_below(root, ".json")) if root.is_dir() else [root]
        self._tasks = [found for file in files for found in _tasks(file)]
        self._names = NameIndex([image_name(reference) for _, reference, _ in self._tasks], path)

    def annotations(self, image: Image) -> Iterable[Annotation]:
        """The regions of the image's task, in order."""
        index = self._names.find(name_of(image))
        if index is None:
            return
        where, _, task = self._tasks[index]
        for place, region in enumerate(regions_of(task)):
            here = f"{where}: region {place}"
            if not isinstance(region, dict):
                raise InputError(f"{here}: expected an object; got {region!r:.60}")
            try:
                found = annotation_of(here, region, image.width, image.height)
            except (PromptError, MaskError) as error:
                raise InputError(str(error) if str(error).startswith(here) else f"{here}: {error}") from error
            if found is not None:
                yield found


def _tasks(file: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where each task is, its image's address, and the task."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not valid JSON: {error}") from error
    if not isinstance(content, list):
        raise InputError(f'{file}: expected a list of tasks, Label Studio\'s "JSON" export; got another format')
    for place, task in enumerate(content):
        where = f"{file}: task {task.get('id', place) if isinstance(task, dict) else place}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise InputError(f"{where}: expected an object with data; got {task!r:.60}")
        addresses = [value for value in data.values() if isinstance(value, str) and value]
        if addresses:
            yield where, addresses[0], task


# Each region as it was drawn, areas as boxes and key points as points; or all of them as boxes, points or masks.
drawn = partial(LabelStudioSource, wanted="drawn")
boxes = partial(LabelStudioSource, wanted="boxes")
points = partial(LabelStudioSource, wanted="points")
masks = partial(LabelStudioSource, wanted="masks")
