"""Label Studio's JSON as it imports and exports it: tasks whose regions are masks, there and back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from samovar.errors import PromptError
from samovar.masks import Masks
from samovar_adapters.formats import Annotation, ImageFileSink, compact
from samovar_adapters.label_studio import brush
from samovar_adapters.label_studio.frame import Frame

if TYPE_CHECKING:
    from samovar.image import Image

__all__ = ["LabelStudioSink", "annotation_of", "picture_name", "task_of"]

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
    """A task for the picture `key` with the masks as regions: pixels, labels, scores and ids that are text, exactly."""
    score = float(masks.scores.mean()) if len(masks) else 0.0
    result = [_region(index, mask) for index, mask in enumerate(masks) if mask.areas[0]]
    return {"data": {"image": key}, "predictions": [{"model_version": "samovar", "score": score, "result": result}]}


def _region(index: int, mask: Masks) -> dict[str, Any]:
    label, ident = mask.labels[0], mask.ids[0]
    value: dict[str, Any] = {"format": "rle", "rle": brush.encode(mask)}
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
    size = region.get("original_width", width), region.get("original_height", height)
    if size != (width, height):
        raise PromptError(
            f"{where}: it is of a {size[0]}×{size[1]} image but this one is {width}×{height}; "
            "expected annotations of this very image"
        )
    frame = Frame(width, height)
    names = value.get(str(region.get("type")))
    label = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    ident = region.get("id") if isinstance(region.get("id"), str) else None
    if kind == "keypoint":
        return Annotation(where, label, ident, points=[frame.point(value)])
    if kind == "brush":
        rle = value.get("rle")
        mask = brush.decode(rle if isinstance(rle, list) else [], width, height)
        return Annotation(where, label, ident, outline=mask)
    draw = {"polygon": frame.polygon, "rectangle": frame.rectangle, "ellipse": frame.ellipse}[kind]
    ring = draw(value)
    low, high = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    return Annotation(where, label, ident, box=(*low, *high), outline=[ring.astype(np.float32)])


def picture_name(reference: str) -> str:
    """The file name in a task's address of a picture, as it was before it was uploaded."""
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
