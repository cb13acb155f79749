"""The images of a job, each under a key that is the same in every run of the same command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from samovar.errors import InputError
from samovar.image import find_images, is_url

__all__ = ["Item", "worklist"]


@dataclass(frozen=True)
class Item:
    """One image of a job: the key that its masks are kept under (unique, stable between runs), and where it lies."""

    key: str
    source: Path | str


def worklist(paths: Sequence[str]) -> tuple[list[Item], list[InputError]]:
    """The images that `paths` (files, folders, globs, URLs) name, in order, and an error for each path that names none.

    The key of a file in a folder is its path below that folder, with "/" between folders; with several folders their
    own names come before it. The key of a file given by itself is its name, and that of a URL the last part of its
    path. Where two keys would be equal, a number is put before the later one's suffix.
    """
    several = sum(Path(path).is_dir() for path in paths) > 1
    found: dict[str, Item] = {}
    taken: set[str] = set()
    errors: list[InputError] = []
    for path in paths:
        try:
            for key, source in _sources(path, several):
                place = str(source) if isinstance(source, str) else os.path.abspath(source)  # noqa: PTH100
                if place not in found:
                    found[place] = Item(_unused(key, taken), source)
                    taken.add(found[place].key)
        except InputError as error:  # noqa: PERF203  (one bad path must not hide the others)
            errors.append(error)
    return list(found.values()), errors


def _sources(path: str, several: bool) -> Iterator[tuple[str, Path | str]]:
    if is_url(path):
        yield (unquote(urlsplit(path).path).rpartition("/")[2] if "://" in path else "") or "image", path
        return
    root = Path(path)
    for file in find_images(path, keep_missing=True):
        if root.is_dir():
            below = file.relative_to(root)
            yield (Path(root.resolve().name) / below if several else below).as_posix(), file
        else:
            yield file.name, file


def _unused(key: str, taken: set[str]) -> str:
    stem, dot, suffix = key.rpartition(".")
    candidate, number = key, 2
    while candidate in taken:
        candidate = f"{stem}-{number}.{suffix}" if dot else f"{key}-{number}"
        number += 1
    return candidate
