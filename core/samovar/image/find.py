"""Finding image files: files, folders and glob patterns, in an order that never changes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Union

from samovar.errors import image_error

__all__ = ["find_images", "image_suffixes", "is_pattern"]

PathLike = Union[str, "os.PathLike[str]"]

# Photos all the same, though Pillow needs a plugin for them: left out silently, a phone's whole folder would be missed.
_PHOTOS = frozenset({".heic", ".heif", ".jxl"})


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """The suffixes, lower case with their dot, that make a file in a folder count as an image."""
    from PIL import Image as Pillow

    from samovar.image.decode import UNSAFE_FORMATS

    Pillow.init()
    readable = set(Pillow.OPEN) - UNSAFE_FORMATS
    return _PHOTOS | {suffix for suffix, name in Pillow.registered_extensions().items() if name in readable}


def find_images(paths: PathLike | Iterable[PathLike], *, keep_missing: bool = False) -> list[Path]:
    """The image files that `paths` name.

    - A file counts whatever its suffix: who names it means it.
    - A folder gives every file below it with an image suffix, whether or not it is a good image: a broken `.jpg` is to
      be named as broken, while a `notes.txt` beside the photos is passed over. Hidden files and folders (a leading dot)
      are skipped, links to folders are not followed, and a folder without images gives nothing.
    - A pattern (`*`, `?`, `[…]`, `**` for any depth) gives what it matches; matched folders are searched as above.

    The order is that of `paths`, and by name within each. A file that is named more than once comes once.

    Args:
        keep_missing: return the path of a file that is missing, or of a folder that cannot be read, instead of raising,
            for a caller that reports it on opening.

    Raises:
        ImageError: a path that does not exist, a pattern that matches nothing, or a folder that cannot be read.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found: dict[str, Path] = {}
    for path in paths:
        for file in _expand(os.fspath(path), keep_missing):
            found.setdefault(os.path.normpath(Path(file).absolute()), Path(file))
    return list(found.values())


def is_pattern(path: str) -> bool:
    """Whether `path` stands for the files that it matches: not where there is one of that name, as `photo[1].jpg`."""
    return glob.has_magic(path) and not os.path.lexists(path)


def _expand(path: str, keep_missing: bool) -> Iterator[str]:
    if os.path.isdir(path):  # noqa: PTH112  (unlike Path, it says no to "" and to names that are too long)
        yield from _walk(path, keep_missing)
    elif is_pattern(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
        if not matches:
            raise image_error(path, "a pattern that matches image files", "no match", "check the path")
        for match in matches:
            if Path(match).is_dir():
                yield from _walk(match, keep_missing)
            else:
                yield match
    elif os.path.lexists(path) or (keep_missing and path):
        yield path
    else:
        raise image_error(path or "''", "a file, folder or pattern", "no such path", "check the spelling")


def _walk(folder: str, keep_closed: bool) -> Iterator[str]:
    """Image files below `folder`: those in it by name, then each subfolder's; last the folders that cannot be read."""
    suffixes = image_suffixes()
    closed: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield str(Path(parent, name))
    for error in closed:
        if not keep_closed:
            raise image_error(error.filename, "a folder that can be read", error.strerror, "change its permissions")
        yield error.filename
