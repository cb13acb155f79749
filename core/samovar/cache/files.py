"""Writing files that appear whole or not at all, and clearing up after writers that were killed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from samovar.cache.descriptors import open_descriptor, write_all
from samovar.cache.locks import lock_descriptor

__all__ = ["TemporaryFile", "sweep"]

OPEN_FILES_STAY = os.name == "nt"
"""Whether a file that is open can be neither renamed nor removed. Elsewhere both are done under its lock."""

ABANDONED = 86400.0
"""Seconds after which a left-over file is removed where the file system has no locks to tell whether it is in use."""


class TemporaryFile:
    """A file under a name of its own until it is published. Locked while it is written, so that `sweep` spares it.

    Args:
        folder: for the file, on the same file system as where it will be published.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{socket.gethostname()}-{os.getpid()}-{os.urandom(6).hex()}"
        self._fd = -1

    def __enter__(self) -> TemporaryFile:
        self._fd = open_descriptor(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        with suppress(OSError):
            lock_descriptor(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        with suppress(OSError):
            self.path.unlink()

    def write(self, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write `pieces` one after another; `durable` waits until they are on the disk. Raises OSError."""
        for piece in pieces:
            write_all(self._fd, piece)
        if durable:
            os.fsync(self._fd)

    def publish(self, path: Path) -> None:
        """Give the file its name, replacing what has it. Raises OSError."""
        if OPEN_FILES_STAY:
            self._close()
        self.path.replace(path)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def sweep(folder: Path) -> int:
    """Remove files in `folder` that nobody holds a lock on; how many. Raises OSError."""
    removed = 0
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return 0
    for path in paths:
        with suppress(FileNotFoundError):
            removed += _sweep_one(path)
    return removed


def _sweep_one(path: Path) -> bool:
    fd = open_descriptor(path, os.O_RDWR)
    try:
        try:
            abandoned = lock_descriptor(fd)
        except OSError:
            abandoned = abs(time.time() - os.fstat(fd).st_mtime) > ABANDONED
        if abandoned and not OPEN_FILES_STAY:
            path.unlink(missing_ok=True)
    finally:
        os.close(fd)
    if abandoned and OPEN_FILES_STAY:
        path.unlink(missing_ok=True)
    return abandoned
