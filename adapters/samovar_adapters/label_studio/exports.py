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
from samovar_adapters.label_studio.config import KINDS
from samovar_adapters.label_studio.prompts import labels_of
from samovar_adapters.label_studio.regions import ImageSize, decode_bitmask, decode_brush, encode_brush

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

# What looks like an image's address: a file name, or what Label Studio, a storage or another host serves.
_ADDRESS = re.compile(
    r"\.(?:jpe?g|jfif|png|bmp|gif|tiff?|webp|avif|jp2)(?:$|[?#])|/data/|^(?:data|https?|s3s?|gs|gcswif|azure\S*|redis):",
    re.IGNORECASE,
)
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
_LEFT_OUT = re.compile(r"[^-\w.]")


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
    if not isinstance(value, Mapping) or kind not in KINDS:
        return None
    drawn_on = region.get("original_width", width), region.get("original_height", height)
    if drawn_on != (width, height):
        raise PromptError(
            f"{where}: it is of a {drawn_on[0]}×{drawn_on[1]} image but this one is {width}×{height}; "
            "expected annotations of this very image"
        )
    size = ImageSize(width, height)
    label = next(iter(labels_of(region)), None)
    ident = region.get("id") if isinstance(region.get("id"), str) else None
    if kind == "keypoint":
        return Annotation(where, label, ident, points=[size.point(value)])
    if kind == "brush":
        rle = value.get("rle")
        mask = decode_brush(rle if isinstance(rle, list) else [], width, height)
        return Annotation(where, label, ident, outline=mask)
    if kind == "bitmask":
        return Annotation(where, label, ident, outline=decode_bitmask(value.get("imageDataURL"), width, height))
    draw = {"polygon": size.polygon, "rectangle": size.rectangle, "ellipse": size.ellipse}[kind]
    ring = draw(value)
    low, high = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    return Annotation(where, label, ident, box=(*low, *high), outline=[ring.astype(np.float32)])


def image_name(reference: str) -> str:
    """The file name in a task's address of an image, as it was before it was uploaded."""
    parts = urlsplit(reference)
    path = unquote(parts.path)
    if path.endswith("/data/local-files/"):
        return parse_qs(parts.query).get("d", [""])[0]
    name = path.rpartition("/")[2]
    return _UPLOAD.sub("", name) if "/data/upload/" in path else path.lstrip("/") or reference


def regions_of(task: Mapping[str, Any]) -> Sequence[Any]:
    """The regions of the task's first annotation that was not cancelled, else of its first prediction."""
    for group in ("annotations", "predictions"):
        for one in task.get(group) or ():
            if isinstance(one, Mapping) and not one.get("was_cancelled") and isinstance(one.get("result"), list):
                return list(one["result"])
    return []


class LabelStudioSource(AnnotationSource):
    """The regions in Label Studio's JSON exports: one file, or a folder of them.

    A region belongs to the image of its task that its tag shows, where there are several; that image is the one whose
    file name the address ends in. What uploading put before the name, and what it changed in it, is made up for. Of a
    task the first annotation counts, or without any the first prediction.

    Args:
        path: a file or a folder.
        wanted: "drawn" (areas as boxes, key points as points), "boxes", "points" or "masks".

    Raises:
        InputError: no such file, or not an export; a region of which nobody can tell which image it is on.
    """

    def __init__(self, path: str | None, wanted: Wanted = "drawn") -> None:
        super().__init__(wanted)
        if not path:
            raise InputError("label-studio needs an export; name it, as in label-studio=export.json")
        root = Path(path)
        if not root.exists():
            raise InputError(f"{path}: no such file or folder; expected Label Studio's JSON export")
        files = list(files_below(root, ".json")) if root.is_dir() else [root]
        found = [one for file in files for one in _images(file)]
        # An image may be shown by many tasks, of which one says something about it.
        labelled = {image_name(reference) for reference, regions in found if regions}
        others = {image_name(reference): (reference, regions) for reference, regions in found if not regions}
        self._images = [one for one in found if one[1]] + [others[name] for name in others if name not in labelled]
        self.index = NameIndex([image_name(reference) for reference, _ in self._images], path)

    def annotations(self, image: Image) -> Iterable[Annotation]:
        """The regions of the image, in order."""
        index = self.index.find(name_of(image))
        if index is None:
            index = self._uploaded(name_of(image))
        for here, region in [] if index is None else self._images[index][1]:
            try:
                found = annotation_of(here, region, image.width, image.height)
            except (PromptError, MaskError) as error:
                raise InputError(str(error) if str(error).startswith(here) else f"{here}: {error}") from error
            if found is not None:
                yield found

    def _uploaded(self, name: str) -> int | None:
        """The image whose name is what uploading makes of `name`: blanks turned to "_", most other signs left out."""
        folder, slash, last = name.rpartition("/")
        stored = folder + slash + _LEFT_OUT.sub("", last.strip().replace(" ", "_"))
        if stored == name or Path(stored).exists():  # it is that other file
            return None
        index = self.index.find(stored)
        return index if index is not None and "/data/upload/" in self._images[index][0] else None


Regions = list[tuple[str, dict[str, Any]]]


def _images(file: Path) -> Iterator[tuple[str, Regions]]:
    """The address of every image of every task, and the regions on it with where each is. Raises InputError."""
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
        texts = list(_texts(data))
        addresses = [one for one in texts if _ADDRESS.search(one[1])] or texts[:1]
        found: dict[tuple[str | int, ...], Regions] = {path: [] for path, _ in addresses}
        regions = regions_of(task)
        for number, region in enumerate(regions):
            here = f"{where}: region {number}"
            if not isinstance(region, dict):
                raise InputError(f"{here}: expected an object; got {region!r:.60}")
            if str(region.get("type", "")).removesuffix("labels") not in KINDS or not addresses:
                continue  # a choice, a relation
            path = _shown_by(region, regions, list(found))
            if path is None:
                columns = ", ".join(dict.fromkeys(str(one[0]) for one in found))
                raise InputError(
                    f"{here}: it is on {region.get('to_name')!r:.60}; expected one of the task's images {columns}; "
                    "name the Image tags like the columns of the data"
                )
            found[path].append((here, _named(region, regions)))
        yield from ((address, found[path]) for path, address in addresses)


def _texts(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text in a task's data, and the keys and numbers that lead to it."""
    if isinstance(data, str) and data:
        yield path, data
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _texts(value, (*path, key))


def _shown_by(
    region: Mapping[str, Any], regions: Sequence[Any], paths: Sequence[tuple[str | int, ...]]
) -> tuple[str | int, ...] | None:
    """Where in its task's data the address of the image is that a region is on; None where that is open.

    An export does not say which column a tag shows. People call it like the column, `Repeater` tags count entries of a
    list ("page_2"), and where all regions are on one tag it shows the first image, or the first list of them.
    """
    name, item = str(region.get("to_name", "")), region.get("item_index")
    lists = [path for path in paths if any(isinstance(step, int) for step in path)]
    number = re.search(r"\d+$", name)
    if under := [path for path in paths if path[0] == name]:
        found = under
    elif lists and number and item is None:
        found, item = lists, int(number[0])
    elif len({one.get("to_name") for one in regions if isinstance(one, dict) and one.get("to_name")}) == 1:
        found = [path for path in lists if path[0] == paths[0][0]] or [paths[0]]
    else:
        return None
    at = item if isinstance(item, int) else 0
    return found[at] if 0 <= at < len(found) else None


def _named(region: dict[str, Any], regions: Sequence[Any]) -> dict[str, Any]:
    """The region, with what a `Labels` tag calls it in a result of its own."""
    value = region.get("value")
    if str(region.get("type", "")).endswith("labels") or not region.get("id") or not isinstance(value, dict):
        return region
    same = (one for one in regions if isinstance(one, dict) and one.get("id") == region["id"])
    labels = next((labels_of(one) for one in same if one.get("type") == "labels"), [])
    return {**region, "value": {**value, "labels": labels}} if labels else region


# Each region as it was drawn, areas as boxes and key points as points; or all of them as boxes, points or masks.
drawn = partial(LabelStudioSource, wanted="drawn")
boxes = partial(LabelStudioSource, wanted="boxes")
points = partial(LabelStudioSource, wanted="points")
masks = partial(LabelStudioSource, wanted="masks")
