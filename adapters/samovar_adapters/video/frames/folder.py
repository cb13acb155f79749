"""Frames from a folder of pictures, in the order of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from samovar.errors import ImageError, InputError, SamovarError
from samovar.image import Image, find_images
from samovar_adapters.video.frames.frame import Frame, check_reached

__all__ = ["FolderReader"]


class FolderReader:
    """The pictures of a folder at a steady rate. One that cannot be read, or of another size, is named and left out."""

    def __init__(self, folder: Path, rate: Fraction) -> None:
        self.name = str(folder)
        self.rate = rate
        self.problems: list[SamovarError] = []
        self._paths = sorted(find_images(folder), key=_natural)
        if not self._paths:
            raise InputError(f"{folder}: expected a folder of pictures; got none; name another folder or a video")
        self.length: int | None = len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """The pictures that can be read; the place of one that cannot stays empty in time."""
        return (frame for frame, _ in self._frames())

    def _frames(self) -> Iterator[tuple[Frame, Path]]:
        size: tuple[int, int] | None = None
        number = 0
        for place, path in enumerate(self._paths):
            image = Image(path)
            try:
                height, width = image.pixels.shape[:2]
            except ImageError as error:
                self.problems.append(error)
                continue
            size = size or (width, height)
            if (width, height) != size:
                expected = f"{size[0]}×{size[1]} like the first"
                self.problems.append(ImageError(f"{path}: expected {expected}; got {width}×{height}; left out"))
                continue
            yield Frame(number, place / self.rate, image), path
            number += 1

    def backwards(self, number: int) -> Iterator[Frame]:
        """See `FrameReader.backwards`. Which pictures can be read is seen on a first way through."""
        found = [(frame.number, frame.time, path) for frame, path in islice(self._frames(), number + 1)]
        check_reached(self.name, number, len(found))
        for place, time, path in reversed(found):
            yield Frame(place, time, Image(path))

    def sound_template(self) -> Any | None:
        """Pictures have no sound."""
        return None

    def take_sound(self) -> list[Any]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing to let go of."""


def _natural(path: Path) -> list[tuple[int, str]]:
    """Names with numbers by value, so that 10.jpg comes after 9.jpg."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]
