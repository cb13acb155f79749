"""A text file that is complete after every piece of it, so that a killed run leaves what it had."""

from __future__ import annotations

from io import FileIO
from pathlib import Path

from samovar_adapters.formats import failure

__all__ = ["GrowingFile"]


class GrowingFile:
    """Takes the place of a file at `path`, or goes on in it, when the first piece comes and not before.

    A run that fails before it has anything to say therefore leaves an earlier run's file alone.
    """

    def __init__(self, path: Path, *, go_on: bool = False) -> None:
        self._path, self._mode = path, "ab" if go_on else "wb"
        self._file: FileIO | None = None

    def write(self, text: str) -> None:
        """Add a piece. Raises SamovarError when the disk takes no more."""
        try:
            if self._file is None:
                self._file = FileIO(self._path, self._mode)  # without a buffer, which would fail again when closed
            left = memoryview(text.encode())
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise failure(self._path, "write", error) from error

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._file is not None:
            self._file.close()
