"""Files in which another tool wrote its instances, as prompts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.prompts import Prompts
from samovar_adapters.instances.prompts import to_prompts

__all__ = ["InstanceFiles"]


class InstanceFiles:
    """What MMPose's inferencer (`--pred-out-dir`) or a tracker wrote of each image. Any number of threads may use it.

    A folder has one JSON file per image, named like it: a list of dictionaries with `keypoints`, `keypoint_scores`
    and `bbox`, or a dictionary of columns, or either under "instances". A text file is a tracker's, in the format of
    the MOT challenge (frame, id, left, top, width, height, …): it belongs to the images whose names are frame numbers,
    such as 000001.jpg. An image that nothing was written of gives no prompts.

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

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """The instances of each image. Raises InputError for a file that is malformed."""
        if requests is not None:
            raise PromptError("instances answers no requests; lower prompts with another source")
        return [self._of(image) for image in images]

    def _of(self, image: Image) -> Prompts:
        stem = Path(image.name).stem
        if self._frames is not None:
            found: Any = self._frames.get(int(stem), {"bboxes": []}) if stem.isdecimal() else {"bboxes": []}
            return to_prompts(found, image.width, image.height)
        file = self._path / f"{stem}.json"
        if not file.is_file():
            return Prompts.from_boxes([])
        try:
            found = json.loads(file.read_bytes())
            if isinstance(found, dict) and "instances" in found:
                found = found["instances"]
            return to_prompts(found, image.width, image.height)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{file}: {error}") from error


def _mot(path: Path) -> dict[int, dict[str, list[Any]]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    frames: dict[int, dict[str, list[Any]]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            frame, ident, left, top, width, height = map(float, line.split(",")[:6])
        except ValueError:
            frame = ident = left = top = width = height = math.nan
        if not all(map(math.isfinite, (frame, ident, left, top, width, height))):
            raise InputError(f"{path}:{number}: expected frame,id,left,top,width,height,…; got {line!r:.60}")
        columns = frames.setdefault(int(frame), {"bboxes": [], "ids": []})
        columns["bboxes"].append((left, top, left + width, top + height))
        columns["ids"].append(int(ident))
    return frames
