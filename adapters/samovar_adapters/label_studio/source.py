"""What annotators made in Label Studio, as prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from samovar.errors import InputError, MaskError, PromptError
from samovar.image import Image
from samovar_adapters.formats import Annotation, AnnotationSource, NameIndex, Wanted, files_below, name_of
from samovar_adapters.label_studio.exports import annotation_of, picture_name, regions_of

__all__ = ["LabelStudioSource", "boxes", "drawn", "masks", "points"]


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
        self._names = NameIndex([picture_name(reference) for _, reference, _ in self._tasks], path)

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
    """Where each task is, its picture's address, and the task."""
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
        pictures = [value for value in data.values() if isinstance(value, str) and value]
        if pictures:
            yield where, pictures[0], task


def drawn(argument: str | None) -> LabelStudioSource:
    """Each region as it was drawn: areas as boxes, key points as points."""
    return LabelStudioSource(argument, "drawn")


def boxes(argument: str | None) -> LabelStudioSource:
    """Each area as its box."""
    return LabelStudioSource(argument, "boxes")


def points(argument: str | None) -> LabelStudioSource:
    """Each region as points."""
    return LabelStudioSource(argument, "points")


def masks(argument: str | None) -> LabelStudioSource:
    """Each area as its mask."""
    return LabelStudioSource(argument, "masks")
