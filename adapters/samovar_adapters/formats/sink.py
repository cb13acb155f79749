"""What the sinks of this package share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

from samovar.errors import InputError
from samovar_adapters.formats.files import check_file, check_folder, write_whole
from samovar_adapters.formats.names import file_of, key_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["ImageFileSink", "Sink", "files_below"]


class Sink(ABC):
    """A mask sink that is also a context manager."""

    needs_pixels: ClassVar[bool] = False

    @abstractmethod
    def done(self) -> Iterable[str]:
        """The keys that are already written."""

    @abstractmethod
    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Keep one image's masks under `key`."""

    def close(self) -> None:  # noqa: B027  (most sinks have nothing left to do)
        """Finish. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ImageFileSink(Sink):
    """One file per image, written whole or not at all, in a folder that mirrors the keys' own folders.

    A path that ends in the format's suffix is the file of the one image instead of a folder, and always written anew.

    Args:
        path: a folder, made if missing, or a file for one image.

    Raises:
        InputError: a path that cannot be written.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.single = self.path.suffix.lower() == self.suffix and not os.path.isdir(path)  # noqa: PTH112
        self._written: str | None = None
        (check_file if self.single else check_folder)(self.path, self.name)

    def done(self) -> Iterable[str]:
        """The keys whose files are there: a file is there only when it is whole."""
        if not self.single:
            yield from (key_of(self.path, file, self.suffix) for file in files_below(self.path, self.suffix))

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Write the file of one image.

        Raises:
            SamovarError: it cannot be written; or the path is one image's file and this is the second.
        """
        write_whole(self._place(key), self.encode(key, image, masks))

    @abstractmethod
    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The contents of the file."""

    def _place(self, key: str) -> Path:
        if not self.single:
            return file_of(self.path, key, self.suffix)
        if self._written not in (None, key):
            raise InputError(f"{self.path} is the file of one image; got {self._written} and {key}; name a folder")
        self._written = key
        return self.path


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Files below `folder` that end in `suffix`, sorted; a file being written (a leading dot, ".partial") is none."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(suffix))
