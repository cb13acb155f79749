"""The items of the arrays in a JSON file, one at a time, each with the bytes it lies at: for large files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from samovar.errors import InputError

__all__ = ["Item", "line_of", "parse", "top_level"]

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


def top_level(path: Path) -> Iterator[Item]:
    """What the JSON object in `path` holds, in the file's order, arrays taken apart.

    Raises:
        InputError: it cannot be read, is not a JSON object, or is torn; names the line.
    """
    try:
        with path.open("rb") as file:
            yield from _Scanner(path, file).items()
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

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        start = file.read(len(_MARK))
        self._base = len(start) if start == _MARK else 0
        self._text = "" if start == _MARK else start.decode("latin-1")
        self._at = 0
        self._decode = JSONDecoder().raw_decode

    def items(self) -> Iterator[Item]:
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
        block = self._file.read(max(_CHUNK, len(self._text) - self._at))
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
