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

from samovar.errors import InputError, MaskError, PromptError, SamovarError
from samovar.image import Image
from samovar.masks import Masks, Rule
from samovar.prompts import Prompt, Prompts
from samovar.types import ObjectId
from samovar_adapters.formats.shapes import deepest

__all__ = ["Annotation", "AnnotationSource", "NameIndex", "Wanted", "check_size", "name_of"]


def name_of(image: Image) -> str:
    """The image's absolute path with "/" between folders, or its name if it did not come from a file."""
    return image.name if image.path is None else Path(os.path.abspath(image.path)).as_posix()  # noqa: PTH100


def check_size(image: Image, file: Path, size: tuple[Any, Any] | None) -> None:
    """Raise PromptError if annotations say that an image is of another size, (width, height)."""
    try:
        known = None if size is None or None in size else (int(size[0]), int(size[1]))
    except (TypeError, ValueError):
        known = None
    if known not in (None, (image.width, image.height)):
        raise PromptError(
            f"{image.name}: {file} says that it is {known[0]}×{known[1]} pixels but it is "
            f"{image.width}×{image.height}; expected annotations of this very image"
        )


class NameIndex:
    """Finds names by the paths of images.

    A name matches an image whose path ends in it, folder by folder; of several the longest. Failing that, the name that
    shares most of its end with the path, at least the file's own name and its folder, if only one does. A file's name
    alone is no match across folders: many hold the same names, and annotations on the wrong image cost more than none.
    Each name belongs to one image. Which one does not depend on the order of asking once `expect` was told them all.

    Args:
        names: file names, most often relative, with slashes or backslashes between folders.
        where: what they are the names of, for messages.
        places: where the files of these names lie, as absolute paths without suffix; an image there comes first.

    Raises:
        InputError: a name that occurs twice.
    """

    def __init__(self, names: Sequence[str], where: str, places: Sequence[str] = ()) -> None:
        self.where = where
        self._parts = [_parts(name) for name in names]
        self._places = {place: index for index, place in enumerate(places)}
        self._by_last: dict[str, list[int]] = {}
        seen: dict[tuple[str, ...], int] = {}
        for index, parts in enumerate(self._parts):
            if seen.setdefault(parts, index) != index:
                raise InputError(f"{where}: {names[index]!r} is there twice; expected each image once")
            self._by_last.setdefault(parts[-1], []).append(index)
        self._claims: dict[int, dict[str, int]] = {}  # index → image → how well it fits
        self._expected: list[str] = []
        self._lock = threading.Lock()

    def expect(self, images: Iterable[Sequence[str]]) -> int:
        """Take note of all images that will be asked for, each under the names to try; return how many are named."""
        found = 0
        for tries in images:
            self._expected.append(tries[-1])
            for name in tries:
                try:
                    index, fit = self._match(name)
                except PromptError:
                    continue
                if index is not None:
                    self._claims.setdefault(index, {})[name] = fit
                    found += 1
                    break
        return found

    def notes(self) -> list[str]:
        """What `expect` came to, if some names were not used."""
        if not self._expected:
            return []
        if not self._parts:
            return [f"{self.where} names no images; expected annotations of some"]
        unused = [index for index in range(len(self._parts)) if index not in self._claims]
        such = f"such as {'/'.join(self._parts[unused[0]])}" if unused else ""
        if len(unused) == len(self._parts):
            given = f"{len(self._expected)} given ({self._expected[0]})"
            return [f"{self.where} names none of the images, {given}; it has {such}; give images below its folders"]
        if unused:
            return [f"{self.where}: of its {len(self._parts)} images {len(unused)} were not among those given, {such}"]
        return []

    def find(self, name: str) -> int | None:
        """The index of the name that is meant by an image's `name` (as from `name_of`), None if there is none.

        Raises:
            PromptError: several names fit equally well, or two images share one.
        """
        index, fit = self._match(name)
        if index is None:
            return None
        with self._lock:
            claims = self._claims.setdefault(index, {})
            others = [other for other in claims if other != name]
            if any(claims[other] > fit for other in others):  # the right image is known
                return None
            rival = next((other for other in others if claims[other] == fit or not self._expected), None)
            if rival is None:
                claims[name] = fit
                return index
        raise PromptError(
            f"{name}: {'/'.join(self._parts[index])!r} of {self.where} could be this image or {rival}; "
            "give only the images that it is about"
        )

    def _match(self, name: str) -> tuple[int | None, int]:
        """The name that fits best, and how well: 2 by its place, 1 whole, 0 by its end."""
        if name in self._places:
            return self._places[name], 2
        wanted = _parts(name)
        shared = {index: _shared_end(self._parts[index], wanted) for index in self._by_last.get(wanted[-1], [])}
        whole = [index for index, length in shared.items() if length == len(self._parts[index])]
        fitting = whole or [index for index, length in shared.items() if length > 1 or length == len(wanted)]
        if not fitting:
            return None, 0
        longest = max(shared[index] for index in fitting)
        best = [index for index in fitting if shared[index] == longest]
        if len(best) > 1:
            these = " and ".join("/".join(self._parts[index]) for index in best[:2])
            raise PromptError(f"{name}: {self.where} has {these}; give the image below the folder that it is meant by")
        return best[0], int(bool(whole))


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

_NAMED = 3  # annotations left out that are named one by one


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

    An annotation that cannot be used is left out and named among `problems`; an image with none that can is an error.

    Args:
        wanted: what becomes of each annotation. One that has none of it, a point where boxes are wanted, or that has
            no area inside the image, gives no prompt.

    Attributes:
        index: the names of the images that are annotated, once a subclass knows them.
    """

    needs_pixels = False
    index: NameIndex

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._left_out: dict[str, None] = {}

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """The annotations of each image, with their labels and ids; none for an image that the annotations don't name.

        Raises:
            InputError: malformed annotations, with the file and the place: all of an image's, or a whole file.
            PromptError: annotations of an image of another size, or several that fit one image equally well.
        """
        if requests is not None:
            raise PromptError("annotations of an image answer no requests; convert prompts with another source")
        return [self._of(image) for image in images]

    @abstractmethod
    def annotations(self, image: Image) -> Iterable[Annotation | InputError]:
        """The annotations of one image, in the file's order; for one that cannot be used, why."""

    def tries(self, image: Image) -> Sequence[str]:
        """The names that an image may be annotated under, the best first."""
        return (name_of(image),)

    def expect(self, images: Sequence[Image]) -> int:
        """Take note of all images of a job: then who is meant by a name does not depend on the order of asking.

        Returns:
            How many of them are annotated.
        """
        return self.index.expect(self.tries(image) for image in images)

    @property
    def problems(self) -> list[SamovarError]:
        """What is to be said at the end of a job: names that fit no image, annotations that were left out."""
        bad = [f"left out {message}" for message in self._left_out]
        more = [f"left out {len(bad) - _NAMED} more annotations"] if len(bad) > _NAMED else []
        return [InputError(line) for line in (*self.index.notes(), *bad[:_NAMED], *more)]

    def _of(self, image: Image) -> Prompts:
        every = list(self.annotations(image))
        bad = [one for one in every if isinstance(one, InputError)]
        found = [one for one in every if not isinstance(one, InputError)]
        size = image.width, image.height
        wanted = self._wanted
        if wanted == "drawn" and not any(one.points for one in found):
            wanted = "boxes"
        rows: list[Any] = []
        for one in found:
            try:
                if wanted == "boxes":
                    rows.append((one, one.edges(*size) if one.is_area else None))
                else:
                    rows.append(_prompt(one, wanted, *size))
            except InputError as error:  # noqa: PERF203  (one bad annotation must not hide the others)
                bad.append(error)
        if bad and not any(row is not None for row in rows):
            raise InputError(str(bad[0]) + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""))
        self._left_out.update(dict.fromkeys(map(str, bad)))
        return _boxes(rows) if wanted == "boxes" else Prompts.of([row for row in rows if row is not None])


def _boxes(found: list[tuple[Annotation, tuple[float, float, float, float] | None]]) -> Prompts:
    """Boxes without a Python object a prompt."""
    kept = [(one, box) for one, box in found if box is not None]
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
