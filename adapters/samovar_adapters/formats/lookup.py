"""Which entry of an annotation file, or which file of a folder, belongs to an image."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from samovar.errors import InputError, PromptError
from samovar.image import Image

__all__ = ["NameIndex", "name_of"]


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
