"""Files by their descriptors, alike on every system: bytes as they are, and no child process inherits an open file."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["open_descriptor", "read_at", "write_all"]

# Windows has no O_CLOEXEC, as its children inherit nothing by default, and translates line ends unless told not to.
_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_descriptor(path: Path, flags: int) -> int:
    """An open file, for `os.close`; one that is made is its owner's alone. Raises OSError."""
    return os.open(path, flags | _PLAIN, 0o600)


def read_at(fd: int, count: int, offset: int) -> bytes:
    """Up to `count` bytes from `offset` on; moves where the descriptor stands. Raises OSError."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, count)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data` where the descriptor stands. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
