"""A YOLO data set as prompts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from samovar.errors import InputError
from samovar.image import Image
from samovar_adapters.formats.annotations import Annotation, AnnotationSource, Wanted
from samovar_adapters.formats.lookup import NameIndex, name_of
from samovar_adapters.formats.sink import files_below
from samovar_adapters.formats.yolo.classes import names_in

__all__ = ["YoloSource", "boxes", "masks", "points"]

_SLACK = 0.5  # how far outside the image a fraction may point; farther, and it is no fraction


class YoloSource(AnnotationSource):
    """The label files of a YOLO data set, with boxes, outlines, or both.

    A label file belongs to the image whose name it has but for the suffix. A line is a class number and a box (centre
    and size), or an outline of three points or more, in fractions of the image's size; a confidence may follow. The
    classes' names are those of `data.yaml` or `classes.txt`, else their numbers. The id is the line's place in the
    file, from 0.

    Args:
        path: the data set's folder, its `labels`, or its `data.yaml`.
        wanted: "boxes" (of outlines too), "points" (one deepest inside an outline, or in the middle of a box), or
            "masks" (outlines only).

    Raises:
        InputError: no such folder, or class names that cannot be read.
    """

    def __init__(self, path: str | None, wanted: Wanted = "boxes") -> None:
        super().__init__(wanted)
        if not path:
            raise InputError("yolo needs a data set's folder or its data.yaml; name it, as in yolo=dataset/")
        given = Path(path)
        if not given.exists():
            raise InputError(f"{path}: no such file or folder; expected a YOLO data set")
        root = given if given.is_dir() else given.parent
        labels = root / "labels" if (root / "labels").is_dir() else root
        listed = [given] if given.is_file() else [root / "data.yaml", root / "classes.txt", labels / "classes.txt"]
        found = next((file for file in listed if file.is_file()), None)
        self._classes = {} if found is None else names_in(found)
        aside = {"classes.txt", "train.txt", "val.txt", "test.txt"}
        self._files = [file for file in files_below(labels, ".txt") if file.name not in aside]
        names = [file.relative_to(labels).as_posix().removesuffix(".txt") for file in self._files]
        self._names = NameIndex(names, path)

    def annotations(self, image: Image) -> Iterable[Annotation]:
        """One for each line that is not empty."""
        index = self._names.find(str(PurePosixPath(name_of(image)).with_suffix("")))
        if index is None:
            return
        file = self._files[index]
        try:
            lines = file.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read: {error}") from error
        for number, line in enumerate(lines):
            if line.strip():
                yield self._annotation(f"{file}: line {number + 1}", number, line, image)

    def _annotation(self, where: str, number: int, line: str, image: Image) -> Annotation:
        first, *rest = line.split()
        try:
            category = int(float(first))
            values = [float(value) for value in rest]
        except (ValueError, OverflowError):
            values, category = [], 0
        outline = len(values) >= 6 and len(values) - len(values) % 2
        if len(values) < 4 or not all(-_SLACK <= value <= 1 + _SLACK for value in values):
            raise InputError(
                f"{where}: expected a class number and a box or an outline in fractions of the image; got {line!r:.60}"
            )
        label = self._classes.get(category, str(category))
        if not outline:
            cx, cy, w, h = (value * size for value, size in zip(values, (image.width, image.height) * 2))
            return Annotation(where, label, number, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
        xs = [value * image.width for value in values[0:outline:2]]
        ys = [value * image.height for value in values[1:outline:2]]
        return Annotation(where, label, number, (min(xs), min(ys), max(xs), max(ys)), [list(zip(xs, ys))])


def boxes(argument: str | None) -> YoloSource:
    """Each line as its box."""
    return YoloSource(argument, "boxes")


def points(argument: str | None) -> YoloSource:
    """Each line as the point deepest inside it."""
    return YoloSource(argument, "points")


def masks(argument: str | None) -> YoloSource:
    """Each outline as its mask."""
    return YoloSource(argument, "masks")
