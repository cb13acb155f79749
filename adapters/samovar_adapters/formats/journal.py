"""An append-only file of records of which a kill loses none: each is on the disk before `append` returns."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from samovar.errors import InputError
from samovar_adapters.formats.files import failure, sync

__all__ = ["Journal"]

_PREFIX = 9  # eight hexadecimal digits of CRC-32 and a space


class Journal:
    """Records of bytes without newlines, one a line: eight hexadecimal digits of CRC-32, a space, the record.

    Opening it drops what a kill left unfinished: everything from the first line on that lacks its newline or fails its
    checksum. One process at a time may have it open, where the system has advisory locks.

    Raises:
        InputError: another process has it open.
        SamovarError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise failure(path, "open", error) from error
        self._lock()
        self._end = 0
        for start, record in self.records():
            self._end = start + len(record) + 1
        self._file.truncate(self._end)

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: the lock only guards against a slip, so do without
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InputError(
                f"{self.path} is being written by another process; wait for it, or write to another file"
            ) from error

    def append(self, record: bytes) -> tuple[int, int]:
        """Add a record; return the offset and length of its bytes in the file. Raises SamovarError, adding nothing."""
        line = b"%08x %b\n" % (zlib.crc32(record), record)
        try:
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]
            sync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._end)
            raise failure(self.path, "write", error) from error
        start, self._end = self._end + _PREFIX, self._end + len(line)
        return start, len(record)

    def records(self) -> Iterator[tuple[int, bytes]]:
        """The offset and bytes of every record, in order, read one at a time, up to the first torn one."""
        offset = 0
        with self.path.open("rb") as file:
            for line in file:
                record = line[_PREFIX:-1]
                if line[-1:] != b"\n" or line[:_PREFIX] != b"%08x " % zlib.crc32(record):
                    return
                yield offset + _PREFIX, record
                offset += len(line)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        self._file.close()

    def remove(self) -> None:
        """Delete it and let go of it."""
        if os.name == "posix":  # while it is still locked, so that nobody picks it up in between
            self.path.unlink(missing_ok=True)
        self.close()
        self.path.unlink(missing_ok=True)
