"""Files that are whole or absent, and what they are called.

A file is written beside its place and renamed into it. Its name comes from the key of its image: folders in the key are
mirrored and the whole key stays in the name (`a/b.jpg` → `a/b.jpg.png`). So `a/b.jpg` and `a/b.png` never share a file,
and a file's name alone says whose it is. Dropping the image's suffix instead would need a record of who came first, and
break when two processes share a folder.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from samovar.errors import InputError, SamovarError

__all__ = [
    "check_file",
    "check_folder",
    "failure",
    "file_of",
    "files_below",
    "key_of",
    "order_of",
    "partial",
    "replacing",
    "stem_of",
    "sync",
    "write_folder",
    "write_whole",
]


def failure(path: Path, doing: str, error: OSError) -> SamovarError:
    """The one-line error for an operating-system failure while `doing` something with `path`."""
    if error.errno == errno.ENAMETOOLONG:  # wrong with this one path, where a full disk would be with the next as well
        return InputError(f"{path}: cannot {doing}: {error.strerror}; use a shorter name")
    return SamovarError(f"{path}: cannot {doing}: {error.strerror or error}; put that right and run again")


def check_folder(path: Path, what: str) -> None:
    """Make `path` a folder that files can be written into, parents and all.

    Raises:
        InputError: it is a file, or may not be written to.
    """
    # os.path and not Path: a folder that may not be looked into is then not there, and making it says why.
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
        raise InputError(f"{what} needs a folder; {str(path)!r} is a file; name a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        # The only honest test of permission, on any file system, is to write.
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"{what} cannot write into {str(path)!r}: {error.strerror or error}; name another folder"
        ) from error


def check_file(path: Path, what: str) -> None:
    """Make sure that a file can be written at `path`, making its parent folders.

    Raises:
        InputError: it is a folder, or its folder may not be written to.
    """
    if os.path.isdir(path):  # noqa: PTH112
        raise InputError(f"{what} needs a file; {str(path)!r} is a folder; name a file in it")
    check_folder(path.parent, what)


def partial(path: Path) -> Path:
    """Where `path` is written before it is whole. Always the same name, so a second try replaces what a kill left."""
    return path.with_name(f".{path.name}.partial")


def sync(descriptor: int) -> None:
    """Wait until a file's bytes are on the disk."""
    os.fsync(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path` at the end; its folders are made.

    A kill at any moment leaves the old file or the new one, and a failure nothing else: a full disk is to be no fuller.

    Raises:
        SamovarError: it cannot be written (a full disk, a name that is too long).
    """
    fresh = partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("wb") as file:
                yield file
                file.flush()
                sync(file.fileno())
            fresh.replace(path)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
    except OSError as error:
        raise failure(path, "write", error) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, as `replacing` does. Raises SamovarError."""
    with replacing(path) as file:
        file.write(data)


def write_folder(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder of files (name, data); a kill at any moment leaves it with all of them or absent.

    Raises:
        SamovarError: it cannot be written.
    """
    fresh = partial(path)
    try:
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(parents=True)
        for name, data in files:
            with (fresh / name).open("wb") as file:
                file.write(data)
                file.flush()
                sync(file.fileno())
        if path.is_dir():  # a folder cannot be renamed over a full one
            shutil.rmtree(path)
        fresh.replace(path)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise failure(path, "write", error) from error


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


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Files below `folder` that end in `suffix`, sorted; a file being written (a leading dot, ".partial") is none."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(suffix))
