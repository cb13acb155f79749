"""A COCO annotation file as prompts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar_adapters.formats.annotations import Annotation, AnnotationSource, Wanted
from samovar_adapters.formats.coco.index import CocoFile
from samovar_adapters.formats.lookup import NameIndex, name_of

__all__ = ["CocoSource", "boxes", "masks", "points"]


class CocoSource(AnnotationSource):
    """The annotations of a COCO file, by the file names of images.

    The file is read once when the source is made, to check it and to find where each image's annotations are; they
    themselves stay on disk. Crowd regions (`iscrowd` 1) are groups, not objects, and give no prompts.

    Args:
        path: the annotation file.
        wanted: "boxes" (`bbox`), "points" (one, deepest inside the segmentation) or "masks" (the segmentation).

    Raises:
        InputError: no file given, or one that is malformed; names the line and the item.
    """

    def __init__(self, path: str | None, wanted: Wanted = "boxes") -> None:
        super().__init__(wanted)
        if not path:
            raise InputError("coco needs an annotation file; name it, as in coco-boxes=annotations.json")
        self._file = CocoFile(Path(path))
        self._names = NameIndex(self._file.names, path)

    def annotations(self, image: Image) -> Iterable[Annotation]:
        """One for each annotation that is no crowd, with its category's name as label and its id."""
        place = self._names.find(name_of(image))
        if place is None:
            return
        size = self._file.sizes[place]
        if size is not None and size != (image.width, image.height):
            raise PromptError(
                f"{image.name}: {self._file.path} says that it is {size[0]}×{size[1]} pixels but it is "
                f"{image.width}×{image.height}; expected annotations of this very image"
            )
        for where, found in self._file.annotations(place):
            if not found.get("iscrowd"):
                yield self._annotation(where, found)

    def _annotation(self, where: str, found: dict[str, Any]) -> Annotation:
        box, outline = found.get("bbox"), found.get("segmentation") or None
        if box is None and outline is None:
            raise InputError(f"{where}: expected a bbox or a segmentation; got neither")
        return Annotation(
            where,
            self._file.categories[found["category_id"]],
            found.get("id"),
            None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3]),
            outline,
            rule="coco",
        )


def boxes(argument: str | None) -> CocoSource:
    """Each annotation as its box."""
    return CocoSource(argument, "boxes")


def points(argument: str | None) -> CocoSource:
    """Each annotation as the point deepest inside it."""
    return CocoSource(argument, "points")


def masks(argument: str | None) -> CocoSource:
    """Each annotation as its mask."""
    return CocoSource(argument, "masks")
