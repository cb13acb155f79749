"""What an annotation file says of one object, whichever format it is in, and prompts made of it."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from samovar.errors import InputError, MaskError, PromptError
from samovar.image import Image
from samovar.masks import Masks, Rule
from samovar.prompts import Prompt, Prompts
from samovar.types import ObjectId
from samovar_adapters.formats.shapes import deepest

__all__ = ["Annotation", "AnnotationSource", "NameIndex", "Wanted", "name_of"]


def name_of(image: Image) -> str:
    """The image's absolute path with "/" between folders, or its name if it did not come from a file."""
    return image.name if image.path is None else Path(os.path.abspath(image.path)).as_posix()  # noqa: PTH100


class NameIndex:
    """Finds names by the paths of images.

    A name matches an image whose path ends in it, folder by folder; of several the longest. Failing that, the name that
    shares most of its end with the path is taken, at least the file's own name, if only one does: annotations then
    follow images that were moved. Each name belongs to one image.

    Args:
        names: file names, most often relative, with slashes or backslashes between folders.
        where: what they are the names of, for messages.

    Raises:
        InputError: a name that occurs twice.
    """

    def __init__(self, names: Sequence[str], where: str) -> None:
        self._where = where
        self._parts = [_parts(name) for name in names]
        self._by_last: dict[str, list[int]] = {}
        seen: dict[tuple[str, ...], int] = {}
        for index, parts in enumerate(self._parts):
            if seen.setdefault(parts, index) != index:
                raise InputError(f"{where}: {names[index]!r} is there twice; expected each image once")
            self._by_last.setdefault(parts[-1], []).append(index)
        self._claims: dict[int, tuple[str, bool]] = {}
        self._lock = threading.Lock()

    def find(self, name: str) -> int | None:
        """The index of the name that is meant by an image's `name` (as from `name_of`), None if there is none.

        Raises:
            PromptError: several names fit equally well, or two images share one.
        """
        wanted = _parts(name)
        shared = {index: _shared_end(self._parts[index], wanted) for index in self._by_last.get(wanted[-1], [])}
        if not shared:
            return None
        whole = [index for index, length in shared.items() if length == len(self._parts[index])]
        fitting = whole or list(shared)
        longest = max(shared[index] for index in fitting)
        best = [index for index in fitting if shared[index] == longest]
        if len(best) > 1:
            these = " and ".join("/".join(self._parts[index]) for index in best[:2])
            raise PromptError(f"{name}: {self._where} has {these}; give the image below the folder that it is meant by")
        return self._claim(best[0], name, bool(whole))

    def _claim(self, index: int, name: str, whole: bool) -> int | None:
        with self._lock:
            other, other_whole = self._claims.setdefault(index, (name, whole))
        if other == name:
            return index
        if other_whole and not whole:  # only the file's name is alike, and the right image is known
            return None
        raise PromptError(
            f"{name}: {'/'.join(self._parts[index])!r} of {self._where} could be this image or {other}; "
            "give only the images that it is about"
        )


def _parts(name: str) -> tuple[str, ...]:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return tuple(parts) or (name,)


def _shared_end(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other)):
        if a != b:
            break
        count += 1
    return count


Wanted: TypeAlias = Literal["drawn", "boxes", "points", "masks"]
"""What becomes of an annotation: a box, or points if it was drawn as points; only boxes; only points; only masks."""


@dataclass(frozen=True)
class Annotation:
    """One object.

    Attributes:
        where: the file and the place in it, for messages.
        label, id: for the prompt.
        box: x1 y1 x2 y2 in pixels, if the file has one.
        outline: what its mask is: the rings whose union it is, in pixels; a COCO RLE; or a mask of the image.
        rule: how rings are drawn, as in `Masks.from_polygons`.
        points: foreground points (x, y) in pixels, where it was drawn as points.
    """

    where: str
    label: str | None
    id: ObjectId
    box: tuple[float, float, float, float] | None = None
    outline: Sequence[Any] | Mapping[str, Any] | Masks | None = None
    points: Sequence[tuple[float, float]] = ()
    rule: Rule = "even-odd"

    def mask(self, width: int, height: int) -> Masks:
        """The one mask of the outline.

        Raises:
            InputError: there is no outline, or it cannot be drawn on an image of that size.
        """
        if self.outline is None:
            raise InputError(f"{self.where}: expected an outline; got only a box; take boxes as prompts instead")
        try:
            if isinstance(self.outline, Masks):
                mask = self.outline
            elif isinstance(self.outline, Mapping):
                mask = Masks.from_coco_rle([self.outline])
            else:
                mask = Masks.from_polygons([[ring] for ring in self.outline], width, height, rule=self.rule).union()
        except (MaskError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{self.where}: {error}") from error
        if (mask.width, mask.height) != (width, height):
            raise InputError(
                f"{self.where}: its mask is {mask.width}×{mask.height} but the image is {width}×{height}; "
                "expected annotations of this very image"
            )
        return mask

    def edges(self, width: int, height: int) -> tuple[float, float, float, float] | None:
        """The box inside the image; None if nothing is left of it.

        Raises:
            InputError: the box lies outside the image altogether.
        """
        if self.box is None:
            mask = self.mask(width, height)
            x1, y1, x2, y2 = mask.boxes[0].tolist()
            return (x1, y1, x2, y2) if mask.areas[0] else None
        x1, y1, x2, y2 = self.box
        if not (x1 < width and y1 < height and x2 > 0 and y2 > 0) and x2 > x1 and y2 > y1:
            raise InputError(
                f"{self.where}: its box {x1:g} {y1:g} {x2:g} {y2:g} is outside the image, {width}×{height}; "
                "expected annotations of this very image"
            )
        inside = np.array([max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)], np.float32)
        return (*inside.tolist(),) if inside[0] < inside[2] and inside[1] < inside[3] else None

    def clicks(self, width: int, height: int) -> list[tuple[float, float]]:
        """Its points inside the image, or else the one deepest inside its mask, or the middle of its box; or none."""
        if self.points:
            return [(x, y) for x, y in self.points if 0 <= x <= width and 0 <= y <= height]
        if self.outline is None:
            edges = self.edges(width, height)
            return [] if edges is None else [((edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2)]
        mask = self.mask(width, height)
        return [deepest(mask)] if mask.areas[0] else []

    @property
    def is_area(self) -> bool:
        """Whether it was drawn as an area and not only as points."""
        return self.box is not None or self.outline is not None


class AnnotationSource(ABC):
    """Prompts from annotations that somebody made: subclasses know where an image's annotations are.

    Args:
        wanted: what becomes of each annotation. One that has none of it, a point where boxes are wanted, or that has
            no area inside the image, gives no prompt.
    """

    needs_pixels = False

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """The annotations of each image, with their labels and ids; none for an image that the annotations don't name.

        Raises:
            InputError: malformed annotations; names the file and the place.
            PromptError: annotations of an image of another size, or several that fit one image equally well.
        """
        if requests is not None:
            raise PromptError("annotations of an image answer no requests; convert prompts with another source")
        return [self._of(image) for image in images]

    @abstractmethod
    def annotations(self, image: Image) -> Iterable[Annotation]:
        """The annotations of one image, in the file's order."""

    def _of(self, image: Image) -> Prompts:
        found = list(self.annotations(image))
        if not found:
            return Prompts.of([])
        size = image.width, image.height
        if self._wanted == "boxes" or (self._wanted == "drawn" and not any(one.points for one in found)):
            return _boxes([one for one in found if one.is_area], *size)
        rows = (_prompt(one, self._wanted, *size) for one in found)
        return Prompts.of([row for row in rows if row is not None])


def _boxes(found: list[Annotation], width: int, height: int) -> Prompts:
    """Boxes without a Python object a prompt."""
    edges = [one.edges(width, height) for one in found]
    kept = [(one, box) for one, box in zip(found, edges) if box is not None]
    boxes = np.array([box for _, box in kept], np.float32).reshape(-1, 4)
    return Prompts.from_boxes(boxes, labels=[one.label for one, _ in kept], ids=[one.id for one, _ in kept])


def _prompt(one: Annotation, wanted: Wanted, width: int, height: int) -> Prompt | None:
    if wanted == "masks":
        mask = one.mask(width, height) if one.is_area else None
        return None if mask is None or not mask.areas[0] else Prompt(mask=mask, label=one.label, id=one.id)
    if wanted == "points":
        clicks = one.clicks(width, height)
        return Prompt(points=clicks, label=one.label, id=one.id) if clicks else None
    box = one.edges(width, height) if one.is_area else None
    clicks = one.clicks(width, height) if one.points else []
    if box is None and not clicks:
        return None
    return Prompt(box=box, points=clicks or None, label=one.label, id=one.id)
