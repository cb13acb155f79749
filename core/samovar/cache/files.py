"""Writing files that appear whole or not at all, and clearing up after writers that were killed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from samovar.cache.locks import lock_descriptor

__all__ = ["TemporaryFile", "sweep"]

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
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        with suppress(OSError):
            lock_descriptor(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        with suppress(OSError):
            self.path.unlink()

    def write(self, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write `pieces` one after another; `durable` waits until they are on the disk. Raises OSError."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._fd, view) :]
        if durable:
            os.fsync(self._fd)

    def publish(self, path: Path) -> None:
        """Give the file its name, replacing what has it. Raises OSError."""
        self.path.replace(path)


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
    fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        try:
            abandoned = lock_descriptor(fd)
        except OSError:
            abandoned = abs(time.time() - os.fstat(fd).st_mtime) > ABANDONED
        if abandoned:
            path.unlink(missing_ok=True)
        return abandoned
    finally:
        os.close(fd)
