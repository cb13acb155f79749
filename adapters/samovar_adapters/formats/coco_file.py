"""A COCO annotation file found through in one pass, and read again image by image: for files larger than memory."""

from __future__ import annotations

import json
import re
import sys
from array import array
from collections.abc import Iterator, Mapping
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from samovar.errors import InputError

__all__ = ["CocoFile", "Item", "line_of", "parse", "problem", "top_level"]

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"[-+.0-9eE]+")
_CHUNK = 1 << 20
_MARK = b"\xef\xbb\xbf"


class Item(NamedTuple):
    """A value at the top level, or one item of an array there.

    `place` is the item's index in the array `key`, None for an empty array and for what is no array; its text is
    bytes[start:end] of the file.
    """

    key: str
    place: int | None
    value: Any
    start: int
    end: int


def top_level(path: Path, block: int = _CHUNK) -> Iterator[Item]:
    """What the JSON object in `path` holds, in the file's order, arrays taken apart, read by `block` bytes or more.

    A file that is an array is taken for one of annotations: what detectors write as their results.

    Raises:
        InputError: it cannot be read, is not a JSON object, or is torn; names the line.
    """
    try:
        with path.open("rb") as file:
            yield from _Scanner(path, file, block).items()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}; check the path") from error


def parse(text: bytes) -> Any:
    """The value whose JSON text was cut out of a file that `top_level` went through."""
    return json.loads(text.decode("utf-8"))


def line_of(path: Path, offset: int) -> int:
    """The line, from 1, that the byte at `offset` is in."""
    line, left = 1, offset
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, _CHUNK))):
            line += block.count(b"\n")
            left -= len(block)
    return line


class _Scanner:
    """Reads as far as the value at hand needs.

    The text is decoded as Latin-1, one character a byte, so that positions in it are positions in the file: JSON's own
    characters are all ASCII. A value with others is decoded once more, as the UTF-8 that it is.
    """

    def __init__(self, path: Path, file: BinaryIO, block: int) -> None:
        self._path, self._file, self._block = path, file, block
        start = file.read(len(_MARK))
        self._base = len(start) if start == _MARK else 0
        self._text = "" if start == _MARK else start.decode("latin-1")
        self._at = 0
        self._decode = JSONDecoder().raw_decode

    def items(self) -> Iterator[Item]:
        if self._next() == "[":
            yield from self._array("annotations")
            return
        self._expect("{", "a JSON object such as a COCO annotation file")
        if self._next() == "}":
            return
        while True:
            key, _, _ = self._value()
            if not isinstance(key, str):
                self._fail("a name in quotes")
            self._expect(":", "a colon")
            if self._next() == "[":
                yield from self._array(key)
            else:
                yield Item(key, None, *self._value())
            if self._next() == "}":
                return
            self._expect(",", "a comma or }")

    def _array(self, key: str) -> Iterator[Item]:
        start = self._base + self._at
        self._at += 1
        index = 0
        while self._next() != "]":
            if index:
                self._expect(",", "a comma or ]")
            yield Item(key, index, *self._value())
            index += 1
        self._at += 1
        if not index:
            yield Item(key, None, [], start, self._base + self._at)

    def _next(self) -> str:
        """The next character that is no space, not consumed; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _expect(self, character: str, what: str) -> None:
        if self._next() != character:
            self._fail(what)
        self._at += 1

    def _value(self) -> tuple[Any, int, int]:
        self._next()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except JSONDecodeError as error:
                if not self._more():
                    self._at = error.pos
                    self._fail(error.msg[:1].lower() + error.msg[1:], found=True)
                continue
            except RecursionError:
                self._fail("values nested less deeply")
            # A number may go on in the next block, even where what is here of it is one: 1 of 1.5, 1 of 1e5.
            digits = _NUMBER.match(self._text, self._at)
            if digits is None or digits.end() < len(self._text) or not self._more():
                break
        text = self._text[self._at : end]
        start, stop = self._base + self._at, self._base + end
        self._at = end
        if not text.isascii():
            try:
                value = parse(text.encode("latin-1"))
            except UnicodeDecodeError:
                self._fail("UTF-8 text")
        return value, start, stop

    def _more(self) -> bool:
        """Read another block, at least doubling what is held, so that a large value is not tried again too often."""
        block = self._file.read(max(self._block, len(self._text) - self._at))
        if not block:
            return False
        self._base += self._at
        self._text = self._text[self._at :] + block.decode("latin-1")
        self._at = 0
        return True

    def _fail(self, what: str, *, found: bool = False) -> NoReturn:
        near = self._text[self._at : self._at + 20].encode("latin-1").decode("utf-8", "replace")
        expected = f"is not valid JSON: {what}" if found else f"expected {what}"
        raise InputError(
            f"{self._path}: line {line_of(self._path, self._base + self._at)}: {expected}; "
            f"got {near!r}; the file may be cut short"
        )


class CocoFile:
    """An annotation file that was gone through once and is read again, image by image, when asked.

    It may lack categories (SA-1B, class-agnostic), have one `image` in place of `images` (SA-1B), give addresses in
    place of file names (LVIS), or be a list of results, whose image ids are then what the images' names say.

    Attributes:
        path: the file.
        info: its "info", {} if it has none.
        names: the file name of every image, or its address, in the file's order.
        sizes: (width, height) of every image in pixels, None where the file does not say.
        categories: category id → name; of none in the file, {}.
        results: whether it is a list of results: then `names` are the image ids.
        problems: what is wrong with annotations of no image.

    Raises:
        InputError: not a COCO annotation file, or torn; names the line and the item.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: Mapping[str, Any] = {}
        self.names: list[str] = []
        self.sizes: list[tuple[int, int] | None] = []
        self.categories: dict[int | str, str] = {}
        self.problems: list[str] = []
        scan = _Scan(self)
        for item in top_level(path):
            scan.take(item)
        self.results = scan.finish()
        # Annotations by image, in the file's order within each; those of no image first.
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
                    if not isinstance(annotation, dict):
                        raise ValueError
                    yield f"{self.path}: annotations[{place}]", annotation
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: has changed since it was opened; start again") from error


_ONE = "the one image"  # the id of an `image` that does not say, and of its annotations


class _Scan:
    """The pass over the file. Images and categories may come after the annotations that name them."""

    def __init__(self, file: CocoFile) -> None:
        self._file = file
        self.spans = array("q")
        self.image_of = array("q")  # for each annotation, the number of its image id, numbered as they turn up
        self.image_at: list[int] = []  # for each such number, its place in `names`, -1 for none
        self._numbers: dict[int | str, int] = {}
        self._present: set[str] = set()

    def take(self, item: Item) -> None:
        self._present.add(item.key)
        if item.key == "info" and isinstance(item.value, dict):
            self._file.info = item.value
        elif item.key == "image" and isinstance(item.value, dict):
            self._image(item, item.value.get("image_id", item.value.get("id", _ONE)))
        elif item.key in ("images", "categories", "annotations"):
            if item.place is None and item.value == []:
                return
            if item.place is None:
                self._fail(item, "a list")
            if not isinstance(item.value, dict):
                self._fail(item, "an object")
            if item.key == "images":
                self._image(item, item.value.get("id"))
            elif item.key == "categories":
                self._category(item)
            else:
                self._annotation(item)

    def finish(self) -> bool:
        """Whether it was a list of results."""
        path = self._file.path
        if self._present == {"annotations"} and self._numbers and _ONE not in self._numbers:
            self.image_at = list(range(len(self._numbers)))
            self._file.names = list(map(str, self._numbers))
            self._file.sizes = [None] * len(self._numbers)
            return True
        if "annotations" not in self._present or not self._present & {"images", "image"}:
            lacking = " and ".join(sorted({"images", "annotations"} - self._present))
            raise InputError(f"{path}: expected a COCO annotation file with images and annotations; it lacks {lacking}")
        if "image" in self._present and len(self._file.names) == 1 and _ONE in self._numbers:
            self.image_at[self._numbers[_ONE]] = 0
        lost = [ident for ident, number in self._numbers.items() if self.image_at[number] < 0]
        if lost:
            what = "without an image_id" if lost[0] == _ONE else f"of the image {lost[0]!r:.60}, which it does not have"
            self._file.problems.append(f"{path}: annotations {what}")
        return False

    def _number(self, ident: int | str) -> int:
        number = self._numbers.setdefault(ident, len(self._numbers))
        if number == len(self.image_at):
            self.image_at.append(-1)
        return number

    def _image(self, item: Item, given: Any) -> None:
        ident = _ident(given)
        if ident is None:
            self._fail(item, "an integer or a string", "id")
        number = self._number(ident)
        name = item.value.get("file_name") or item.value.get("coco_url") or item.value.get("flickr_url")
        if not isinstance(name, str) or not name:
            self._fail(item, "a name", "file_name")
        if self.image_at[number] >= 0:
            self._fail(item, "an id of its own", "id")
        self.image_at[number] = len(self._file.names)
        self._file.names.append(name)
        width, height = _ident(item.value.get("width")), _ident(item.value.get("height"))
        known = isinstance(width, int) and isinstance(height, int)
        self._file.sizes.append((width, height) if known else None)  # type: ignore[arg-type]

    def _category(self, item: Item) -> None:
        name, ident = item.value.get("name"), _ident(item.value.get("id"))
        if ident is None:
            self._fail(item, "an integer or a string", "id")
        if not isinstance(name, str):
            self._fail(item, "a name", "name")
        self._file.categories[ident] = name

    def _annotation(self, item: Item) -> None:
        ident = _ident(item.value.get("image_id", _ONE))
        self.image_of.append(self._number(_ONE if ident is None else ident))
        self.spans.extend((item.start, item.end))

    def _fail(self, item: Item, expected: str, key: str | None = None) -> NoReturn:
        got = item.value if key is None else item.value.get(key, "nothing")
        where = item.key if item.place is None else f"{item.key}[{item.place}]"
        field = "" if key is None else f"{key}: "
        line = line_of(self._file.path, item.start)
        raise InputError(f"{self._file.path}: line {line}: {where}: {field}expected {expected}; got {got!r:.60}")


def _ident(value: Any) -> int | str | None:
    """An id or a whole number, which some tools write as 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) else None


def problem(annotation: Mapping[str, Any], categories: Mapping[int | str, str]) -> str | None:
    """What is wrong with an annotation, if anything."""
    box, outline, ident = annotation.get("bbox") or None, annotation.get("segmentation"), annotation.get("id")
    category = annotation.get("category_id")
    if box is not None and not _is_box(box):
        return f"bbox: expected finite numbers [x, y, width, height] with sizes of 0 or more; got {box!r:.60}"
    if not isinstance(outline, (list, dict, type(None))):
        return f"segmentation: expected polygons or an RLE; got {outline!r:.60}"
    if ident is not None and _ident(ident) is None:
        return f"id: expected an integer or a string; got {ident!r:.60}"
    if category is not None and categories and _ident(category) not in categories:
        return f"category_id: expected the id of one of the categories; got {category!r:.60}"
    if box is None and not outline:
        return "expected a bbox or a segmentation; got neither"
    return None


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, (int, float)) and abs(value) <= sys.float_info.max for value in box)
        and box[2] >= 0
        and box[3] >= 0
    )
