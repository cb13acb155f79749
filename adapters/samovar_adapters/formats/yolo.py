"""YOLO data sets: as prompts, and masks as one for segmentation."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from samovar.errors import InputError
from samovar.image import Image
from samovar_adapters.formats.annotations import Annotation, AnnotationSource, NameIndex, Wanted, name_of
from samovar_adapters.formats.files import check_folder, failure, files_below, stem_of, sync, write_whole
from samovar_adapters.formats.shapes import one_ring
from samovar_adapters.formats.sinks import Sink

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["MARK", "UNLABELLED", "YoloSink", "YoloSource", "boxes", "masks", "names_in", "points", "to_yaml"]

MARK = "# Written by Samovar"

_PAIR = re.compile(r"\s*(\d+)\s*:\s*(.+?)\s*$")
_ITEM = re.compile(r"\s*-\s+(.+?)\s*$")
_FLOW = re.compile(
    r"""\s*(?:(?P<number>\d+)\s*:\s)?\s*
    (?P<value>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,\]}'"][^,\]}]*?)?\s*(?P<stop>[,\]}])""",
    re.VERBOSE,
)


def to_yaml(names: Sequence[str]) -> bytes:
    """`data.yaml` as YOLO trainers read it, with `train.txt` beside it."""
    lines = [MARK, "train: train.txt", "val: train.txt", "names:" if names else "names: {}"]
    # A JSON string is a YAML string, whatever is in it.
    lines += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(names)]
    return ("\n".join(lines) + "\n").encode("utf-8")


def names_in(path: Path) -> dict[int, str]:
    """Class number → name, from a `.yaml` file's `names` (a mapping or a list, in either style) or from a text file.

    Raises:
        InputError: it cannot be read, or its names are written in a way that this reader, which is no YAML parser, does
            not know.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if path.suffix.lower() not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    starts = [index for index, line in enumerate(lines) if re.match(r"names\s*:", line)]
    if not starts:
        raise InputError(f"{path}: expected the classes under `names:`; got none; or write them to classes.txt")
    first = lines[starts[0]].partition(":")[2].strip()
    rest = lines[starts[0] + 1 :]
    found = _flow(" ".join([first, *map(str.strip, rest)])) if first else _block(rest)
    if found is None:
        raise InputError(
            f"{path}: cannot read `names`; expected a list or a mapping of numbers; or write them to classes.txt"
        )
    return found


def _block(lines: Sequence[str]) -> dict[int, str] | None:
    found: dict[int, str] = {}
    for line in lines:
        pair, item = _PAIR.match(line), _ITEM.match(line)
        if item is not None:
            found[len(found)] = _scalar(item[1])
        elif pair is not None and line[0] in " \t":
            found[int(pair[1])] = _scalar(pair[2])
        elif line[0] in " \t":
            return None
        else:
            break
    return found or None


def _flow(text: str) -> dict[int, str] | None:
    """A list in brackets or a mapping in braces."""
    found: dict[int, str] = {}
    at = 1
    while text[:1] in ("[", "{") and (entry := _FLOW.match(text, at)) is not None:
        numbered = entry["number"] is not None
        if entry["value"] is not None:
            if numbered != (text[0] == "{"):
                return None
            found[int(entry["number"]) if numbered else len(found)] = _scalar(entry["value"])
        if entry["stop"] != ",":
            return found
        at = entry.end()
    return None


def _scalar(text: str) -> str:
    if text[:1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text.strip('"')
    if text[:1] == "'":
        return text[1:-1].replace("''", "'")
    return text.partition(" #")[0].strip()


_SLACK = 0.5  # how far outside the image a fraction may point; farther, and it is no fraction


class YoloSource(AnnotationSource):
    """The label files of a YOLO data set, with boxes, outlines, or both.

    A label file belongs to the image whose name it has but for the suffix, in the same folder or below `labels` where
    the image is below `images`. A line is a class number and a box (centre and size), or an outline of three points or
    more, in fractions of the image's size. A confidence may follow, and after a box's the number of a track. With
    `kpt_shape` in `data.yaml` lines may be poses, whose boxes are taken. The classes' names are those of `data.yaml` or
    `classes.txt`, else their numbers. The id is the line's place in the file, from 0.

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
        self._pose, self._ours = (0, False) if found is None else _about(found)
        names = [file.relative_to(labels).as_posix().removesuffix(".txt") for file in self._files]
        places = [_without(os.path.abspath(file.with_suffix("")), "labels") for file in self._files]  # noqa: PTH100
        self.index = NameIndex([_without(name, "labels") for name in names], path, places)

    def tries(self, image: Image) -> Sequence[str]:
        """The image's path without its suffix; at first without the folder `images`, too."""
        stem = str(PurePosixPath(name_of(image)).with_suffix(""))
        return tuple(dict.fromkeys((_without(stem, "images"), stem)))

    def annotations(self, image: Image) -> Iterable[Annotation | InputError]:
        """One for each line that is not empty."""
        index = next((found for name in self.tries(image) if (found := self.index.find(name)) is not None), None)
        if index is None:
            return
        file = self._files[index]
        try:
            lines = file.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read: {error}") from error
        rows = {number: line.split() for number, line in enumerate(lines) if line.strip()}
        tracks = self._are_tracks(rows.values())
        for number, row in rows.items():
            where = f"{file}: line {number + 1}"
            try:
                one: Annotation | InputError = self._annotation(where, number, row, image, tracks)
            except InputError as error:
                one = InputError(f"{where}: {error}; got {lines[number]!r:.60}")
            yield one

    def _are_tracks(self, rows: Iterable[Sequence[str]]) -> bool | None:
        """Whether lines of six numbers are boxes with a confidence and a track; None where they may be triangles, too.

        A track is a whole number; the last coordinate of a triangle is one only at the image's border. Where there are
        outlines or boxes without a track, they are triangles.
        """
        rows = list(rows)
        last = [row[6] for row in rows if len(row) == 7]
        if self._ours or not all(text.isdecimal() for text in last):
            return False
        if any(int(text) > 1 for text in last):
            return True
        return False if len(last) < len(rows) else None

    def _annotation(self, where: str, number: int, row: Sequence[str], image: Image, tracks: bool | None) -> Annotation:
        """One line. Raises InputError, without the place, for one of another kind."""
        try:
            category = int(float(row[0]))
            values = [float(value) for value in row[1:]]
        except (ValueError, OverflowError):
            values, category = [], 0
        count, outline = len(values), 0
        if self._pose and count not in (4, 5, *range(4 + self._pose, 7 + self._pose)):
            raise InputError(f"expected a box, or one with {self._pose} numbers of key points, as kpt_shape says")
        if count == 6 and tracks is None and not self._pose:
            raise InputError("expected a box or an outline, not what may be a triangle or a box with its track")
        if count >= 6 and not self._pose and not (count == 6 and tracks):
            outline = count - count % 2
        elif count > 5 or (count == 5 and values[4].is_integer()):  # a pose's key points, a track
            values = values[:4]
        if count < 4 or not all(-_SLACK <= value <= 1 + _SLACK for value in values):
            raise InputError("expected a class number and a box or an outline in fractions of the image")
        label = self._classes.get(category, str(category))
        if not outline:
            cx, cy, w, h = (value * size for value, size in zip(values, (image.width, image.height) * 2))
            return Annotation(where, label, number, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
        xs = [value * image.width for value in values[0:outline:2]]
        ys = [value * image.height for value in values[1:outline:2]]
        return Annotation(where, label, number, (min(xs), min(ys), max(xs), max(ys)), [list(zip(xs, ys))])


def _without(path: str, folder: str) -> str:
    """A path without the last folder of that name on it."""
    parts = path.replace("\\", "/").split("/")
    at = next((index for index in range(len(parts) - 2, -1, -1) if parts[index] == folder), None)
    return path if at is None else "/".join(parts[:at] + parts[at + 1 :])


def _about(path: Path) -> tuple[int, bool]:
    """How many numbers a line's key points are by `kpt_shape`, 0 without; and whether Samovar wrote the data set."""
    text = path.read_text("utf-8-sig", "replace")
    shape = re.search(r"^kpt_shape\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*\]", text, re.MULTILINE)
    return (int(shape[1]) * int(shape[2]) if shape else 0), text.startswith(MARK)


boxes = partial(YoloSource, wanted="boxes")
points = partial(YoloSource, wanted="points")
masks = partial(YoloSource, wanted="masks")

UNLABELLED = "object"
"""The class of masks without a label."""

_BELOW = "./images/"


class YoloSink(Sink):
    """A folder with `labels/a/b.txt` for an image `a/b.jpg`, `data.yaml` with the classes, and `train.txt`.

    A line of a label file is a class number and the outline's points, x and y as fractions of the image's size. YOLO
    knows one ring a mask: holes and further parts are joined to it by slits of no width. Classes are numbered as they
    turn up. `train.txt` names the images as `./images/a/b.jpg`: put or link the images' folder beside it as `images`.
    Scores and ids have no place in the format.

    Args:
        path: a folder, made if missing, which may hold what this sink wrote earlier.
        tolerance: how far, in pixels, an outline may move to need fewer points.

    Raises:
        InputError: a path that cannot be written, or a data set that Samovar did not write.
    """

    def __init__(self, path: str | os.PathLike[str], *, tolerance: float = 1.0) -> None:
        self.path = Path(path)
        check_folder(self.path, "yolo")
        self._tolerance = tolerance
        self._lock = threading.Lock()
        self._classes_file, self._list = self.path / "data.yaml", self.path / "train.txt"
        self._classes = self._earlier_classes()
        self._images = self._earlier_images()  # label file → key

    def done(self) -> Iterable[str]:
        """The keys that are in the list of images: one is there only when its label file is whole."""
        with self._lock:
            return [key for file, key in self._images.items() if file.is_file()]

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Write one image's label file and add it to the list.

        Raises:
            InputError: another image has the same name but for the suffix, which YOLO cannot tell apart.
            SamovarError: the disk takes no more.
        """
        place = stem_of(self.path / "labels", key, ".txt")
        with self._lock:
            other = self._images.get(place, key)
            if other != key:
                raise InputError(
                    f"{key} and {other} would share {place}: YOLO tells images apart by their names without suffix; "
                    "rename one of them"
                )
            if "\n" in key or "\r" in key:
                raise InputError(f"{key!r}: YOLO lists images line by line; expected a name without line breaks")
            self._number([label or UNLABELLED for label in masks.labels])
            write_whole(place, self._lines(masks))
            if place not in self._images:
                self._add(key)
                self._images[place] = key

    def close(self) -> None:
        """Make sure that the list and the classes are there even if there was nothing to write. Idempotent."""
        with self._lock:
            if not self._classes_file.exists():
                write_whole(self._classes_file, to_yaml(list(self._classes)))
            if not self._list.exists():
                write_whole(self._list, b"")

    def _number(self, labels: Iterable[str]) -> None:
        """Number new classes, on the disk before any label file uses them."""
        fresh = [label for label in dict.fromkeys(labels) if label not in self._classes]
        if fresh:
            names = [*self._classes, *fresh]
            write_whole(self._classes_file, to_yaml(names))
            self._classes = {name: number for number, name in enumerate(names)}

    def _lines(self, masks: Masks) -> bytes:
        lines = []
        for label, regions in zip(masks.labels, masks.to_polygons(self._tolerance)):
            ring = one_ring(regions)
            if ring is not None:
                fractions = (ring / (masks.width, masks.height)).ravel().tolist()
                lines.append(" ".join([str(self._classes[label or UNLABELLED]), *map(_short, fractions)]))
        return "".join(line + "\n" for line in lines).encode("ascii")

    def _add(self, key: str) -> None:
        try:
            with self._list.open("ab") as file:
                file.write(f"{_BELOW}{key}\n".encode("utf-8", "surrogateescape"))
                file.flush()
                sync(file.fileno())
        except OSError as error:
            raise failure(self._list, "write", error) from error

    def _earlier_classes(self) -> dict[str, int]:
        if not self._classes_file.exists():
            return {}
        if not self._classes_file.read_text("utf-8", "replace").startswith(MARK):
            raise InputError(f"{self.path} holds a YOLO data set that Samovar did not write; name another folder")
        empty = self._classes_file.read_bytes() == to_yaml([])
        return {} if empty else {name: number for number, name in names_in(self._classes_file).items()}

    def _earlier_images(self) -> dict[Path, str]:
        if not self._list.exists():
            return {}
        data = self._list.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # a kill tore the last line
            write_whole(self._list, whole)
        keys = [line.removeprefix(_BELOW) for line in whole.decode("utf-8", "surrogateescape").split("\n")[:-1]]
        return {stem_of(self.path / "labels", key, ".txt"): key for key in keys}


def _short(fraction: float) -> str:
    return f"{fraction:.6f}".rstrip("0").rstrip(".")
