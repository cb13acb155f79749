"""From the key of an image to the name of its file, and back.

Folders in a key are mirrored, and the whole key stays in the name (`a/b.jpg` → `a/b.jpg.png`): `a/b.jpg` and `a/b.png`
never share a file, and a file's name alone says whose it is. The alternative, dropping the image's suffix, needs a
record of who came first, and breaks when two processes share a folder.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from samovar.errors import InputError

__all__ = ["file_of", "key_of", "order_of", "stem_of"]

_MARK = "%"
_SPECIAL = ("", ".", "..")


def file_of(folder: Path, key: str, suffix: str) -> Path:
    """The file below `folder` for `key`; `key_of` undoes it. No key leads out of `folder`."""
    return folder.joinpath(*_parts(key, suffix))


def stem_of(folder: Path, key: str, suffix: str) -> Path:
    """As `file_of`, with the image's own suffix dropped: for tools that look for that name. Not unique."""
    *folders, name = _parts(key, "")
    stem = PurePosixPath(name).stem if not name.startswith(_MARK) else name
    return folder.joinpath(*folders, stem + suffix)


def key_of(folder: Path, file: Path, suffix: str) -> str:
    """The key whose file, below `folder` and ending in `suffix`, is `file`."""
    parts = list(file.relative_to(folder).parts)
    parts[-1] = parts[-1].removesuffix(suffix)
    return "/".join(part.removeprefix(_MARK) for part in parts)


def order_of(key: str) -> tuple[tuple[bool, str], ...]:
    """Sorts keys as a folder is walked: the files of a folder by name, then each of its folders."""
    *folders, name = key.split("/")
    return (*((True, part) for part in folders), (False, name))


def _parts(key: str, suffix: str) -> list[str]:
    if "\0" in key:
        raise InputError(f"the key of an image must be usable as a file name; got {key!r:.80}")
    # "..", an empty part (a leading slash, "//") and what already starts with the mark are marked, so that all differ.
    parts = [_MARK + part if part in _SPECIAL or part.startswith(_MARK) else part for part in key.split("/")]
    parts[-1] += suffix
    return parts
