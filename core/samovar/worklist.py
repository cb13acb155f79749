"""The images of a job, each under a key that is the same in every run of the same command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from samovar.errors import InputError
from samovar.image import find_images, is_pattern, is_url, name_of_url

__all__ = ["Item", "key_of_one", "worklist"]


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
    several = sum(map(_is_folder, paths)) > 1
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
        yield name_of_url(path), path
        return
    root = Path(path)
    for file in find_images(path, keep_missing=True):
        if _is_folder(path):
            below = file.relative_to(root)
            yield (Path(root.resolve().name) / below if several else below).as_posix(), file
        else:
            yield file.name, file


def key_of_one(paths: Sequence[str]) -> str | None:
    """The key of the one image that `paths` can mean; None where it is several paths, a folder or a pattern."""
    if len(paths) != 1:
        return None
    (path,) = paths
    if is_url(path):
        return name_of_url(path)
    return None if _is_folder(path) or is_pattern(path) else Path(path).name


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  (unlike Path, it says no to what no file system would take)


def _unused(key: str, taken: set[str]) -> str:
    stem, dot, suffix = key.rpartition(".")
    candidate, number = key, 2
    while candidate in taken:
        candidate = f"{stem}-{number}.{suffix}" if dot else f"{key}-{number}"
        number += 1
    return candidate
