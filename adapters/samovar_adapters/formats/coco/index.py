"""Where everything in a COCO annotation file is, found in one pass that keeps 24 bytes an annotation."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from samovar.errors import InputError
from samovar_adapters.formats.coco.stream import Item, line_of, parse, top_level

__all__ = ["CocoFile"]


class CocoFile:
    """An annotation file that was checked once and is read again, image by image, when asked.

    Attributes:
        path: the file.
        info: its "info", {} if it has none.
        names: the file name of every image, in the file's order.
        sizes: (width, height) of every image in pixels, None where the file does not say.
        categories: category id → name.

    Raises:
        InputError: not a COCO annotation file, or torn; names the line and the item.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: Mapping[str, Any] = {}
        self.names: list[str] = []
        self.sizes: list[tuple[int, int] | None] = []
        self.categories: dict[int | str, str] = {}
        scan = _Scan(self)
        for item in top_level(path):
            scan.take(item)
        scan.finish()
        # Annotations by image, in the file's order within each.
        of_image = np.frombuffer(scan.image_of, np.int64) if scan.image_of else np.zeros(0, np.int64)
        slots = np.array(scan.image_at, np.int64)[of_image] if len(of_image) else of_image
        order = np.argsort(slots, kind="stable")
        self._places = order
        self._spans = np.frombuffer(scan.spans, np.int64).reshape(-1, 2)[order] if len(order) else np.zeros((0, 2), int)
        self._starts = np.searchsorted(slots[order], np.arange(len(self.names) + 1))

    def annotations(self, image: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the file says of one image: for each annotation where it is, for messages, and its object.

        Raises:
            InputError: the file has changed since it was opened.
        """
        low, high = int(self._starts[image]), int(self._starts[image + 1])
        if low == high:
            return
        try:
            with self.path.open("rb") as file:
                for place, (start, end) in zip(self._places[low:high].tolist(), self._spans[low:high].tolist()):
                    file.seek(start)
                    annotation = parse(file.read(end - start))
                    if not isinstance(annotation, dict) or annotation.get("category_id") not in self.categories:
                        raise ValueError
                    yield f"{self.path}: annotations[{place}]", annotation
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: has changed since it was opened; start again") from error


class _Scan:
    """The pass over the file. Images and categories may come after the annotations that name them."""

    def __init__(self, file: CocoFile) -> None:
        self._file = file
        self.spans = array("q")
        self.image_of = array("q")  # for each annotation, the number of its image id, numbered as they turn up
        self.image_at: list[int] = []  # for each such number, its place in `names`
        self._numbers: dict[int | str, int] = {}
        self._first: list[Item] = []  # for each such number, the first item that named it
        self._categories: dict[int | str, Item] = {}
        self._present: set[str] = set()

    def take(self, item: Item) -> None:
        self._present.add(item.key)
        if item.key == "info" and isinstance(item.value, dict):
            self._file.info = item.value
        elif item.key in ("images", "categories", "annotations"):
            if item.place is None and item.value == []:
                return
            if item.place is None:
                self._fail(item, "a list")
            if not isinstance(item.value, dict):
                self._fail(item, "an object")
            {"images": self._image, "categories": self._category, "annotations": self._annotation}[item.key](item)

    def finish(self) -> None:
        path = self._file.path
        missing = {"images", "annotations", "categories"} - self._present
        if missing:
            lacking = " and ".join(sorted(missing))
            raise InputError(
                f"{path}: expected a COCO annotation file with images, annotations and categories; it lacks {lacking}"
            )
        for number, place in enumerate(self.image_at):
            if place < 0:
                self._fail(self._first[number], "the image_id of one of the images", "image_id")
        for ident, item in self._categories.items():
            if ident not in self._file.categories:
                self._fail(item, "the category_id of one of the categories", "category_id")

    def _number(self, ident: int | str, item: Item) -> int:
        number = self._numbers.setdefault(ident, len(self._numbers))
        if number == len(self.image_at):
            self.image_at.append(-1)
            self._first.append(item._replace(value={"image_id": ident}))
        return number

    def _image(self, item: Item) -> None:
        number = self._number(self._ident(item, "id"), item)
        name, width, height = (item.value.get(key) for key in ("file_name", "width", "height"))
        if not isinstance(name, str) or not name:
            self._fail(item, "a name", "file_name")
        if self.image_at[number] >= 0:
            self._fail(item, "an id of its own", "id")
        self.image_at[number] = len(self._file.names)
        self._file.names.append(name)
        known = isinstance(width, int) and isinstance(height, int)
        self._file.sizes.append((width, height) if known else None)

    def _category(self, item: Item) -> None:
        name = item.value.get("name")
        if not isinstance(name, str):
            self._fail(item, "a name", "name")
        self._file.categories[self._ident(item, "id")] = name

    def _annotation(self, item: Item) -> None:
        value = item.value
        category = self._ident(item, "category_id")
        if category not in self._categories:
            self._categories[category] = item._replace(value={"category_id": category})
        box = value.get("bbox")
        if box is not None and not _is_box(box):
            self._fail(item, "finite numbers [x, y, width, height] with sizes of 0 or more", "bbox")
        if not isinstance(value.get("segmentation"), (list, dict, type(None))):
            self._fail(item, "polygons or an RLE", "segmentation")
        if not isinstance(value.get("id"), (int, str, type(None))):
            self._fail(item, "an integer or a string", "id")
        self.image_of.append(self._number(self._ident(item, "image_id"), item))
        self.spans.extend((item.start, item.end))

    def _ident(self, item: Item, key: str) -> int | str:
        ident = item.value.get(key)
        if not isinstance(ident, (int, str)):
            self._fail(item, "an integer or a string", key)
        return ident

    def _fail(self, item: Item, expected: str, key: str | None = None) -> NoReturn:
        got = item.value if key is None else item.value.get(key, "nothing")
        where = item.key if item.place is None else f"{item.key}[{item.place}]"
        field = "" if key is None else f"{key}: "
        line = line_of(self._file.path, item.start)
        raise InputError(f"{self._file.path}: line {line}: {where}: {field}expected {expected}; got {got!r:.60}")


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, (int, float)) and abs(value) <= sys.float_info.max for value in box)
        and box[2] >= 0
        and box[3] >= 0
    )
