"""Frames one after another: what a reader of them gives, those of a folder of images, and frames read ahead.

`open_frames` is the reader for whatever the command line names; video files, pipes and cameras are in `stream`.
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from samovar.errors import ImageError, InputError, SamovarError
from samovar.image import Image, find_images

__all__ = ["FolderReader", "Frame", "FrameReader", "check_reached", "open_frames", "read_ahead"]

_AHEAD = 4  # frames decoded before they are asked for
_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation"), "win32": ("video={}", "dshow")}


@dataclass(frozen=True)
class Frame:
    """One image of a video.

    Attributes:
        number: from 0, counting the frames that could be read.
        time: seconds from the video's own zero, exactly as it has it; frames need not be evenly spaced.
        image: upright, whatever the camera's orientation was.
    """

    number: int
    time: Fraction
    image: Image


class FrameReader(Protocol):
    """Reads frames one after another, once.

    Attributes:
        name: what messages call it.
        rate: frames a second, on average.
        length: how many frames there are, as the video says; None if it does not say.
        pixel_aspect: width of a pixel over its height, of upright frames; None if they are square.
        problems: what could not be read so far, a line each.
    """

    name: str
    rate: Fraction
    length: int | None
    pixel_aspect: Fraction | None
    problems: list[SamovarError]

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in the order in which they are shown."""

    def backwards(self, number: int) -> Iterator[Frame]:
        """Frame `number` and those before it, last first, instead of `__iter__`. A few of them are in memory at a time.

        Raises InputError if there is no such frame, or if the frames can only be read onwards.
        """

    def audio_template(self) -> Any | None:
        """The stream of audio that `take_audio` gives packets of; None where there is none."""

    def take_audio(self) -> list[Any]:
        """The packets of audio read since the last call."""

    def close(self) -> None:
        """Let go of the file or camera. Idempotent."""


def open_frames(source: str, *, rate: Fraction | None = None) -> FrameReader:
    """A reader of a video file or URL, a folder of images, `camera:N`, or `-` for standard input.

    Args:
        rate: frames a second, for a folder of images; 25 if not given.

    Raises:
        InputError: it is not there, or not a video.
        MissingExtraError: PyAV is not installed; folders do without it.
    """
    # os.path and not Path, which fails on what is too long for the name of a file.
    if os.path.isdir(source):  # noqa: PTH112
        return FolderReader(Path(source), rate or Fraction(25))
    if rate is not None:
        raise InputError(f"--rate is for folders of images; {source} has times of its own; leave it out")

    from samovar_adapters.video.stream import StreamReader

    if source == "-":
        return StreamReader(_Pipe(), "standard input")
    kind, colon, number = source.partition(":")
    if kind == "camera" and colon:
        if not number.isdecimal():
            raise InputError(f"expected camera:N with a number; got {source!r}; the first is camera:0")
        place, form = _CAMERAS.get(sys.platform, _CAMERAS["linux"])
        return StreamReader(place.format(number), source, form=form)
    if os.path.isfile(source):  # noqa: PTH113
        return StreamReader(os.path.abspath(source), source)  # noqa: PTH100  (FFmpeg takes "12:30.mp4" for a protocol)
    if "://" not in source:
        raise InputError(f"no video at {source!r}; expected a file, a URL, a folder, camera:N or - for standard input")
    return StreamReader(source, source)


class _Pipe:
    """Standard input, which can only be read onwards."""

    name = "standard input"

    def read(self, size: int) -> bytes:
        return sys.stdin.buffer.read(size)


class FolderReader:
    """The images of a folder, but not of folders below it, at a steady rate, in the order of their names.

    One that cannot be read, or of another size, is named and left out.
    """

    def __init__(self, folder: Path, rate: Fraction) -> None:
        self.name = str(folder)
        self.rate = rate
        self.problems: list[SamovarError] = []
        found = find_images(folder)
        self._paths = sorted((path for path in found if path.parent == folder), key=_natural)
        if not self._paths:
            got = f"{len(found)} in folders below it" if found else "none"
            raise InputError(f"{folder}: expected a folder of images; got {got}; name another folder or a video")
        self.length: int | None = len(self._paths)
        self.pixel_aspect: Fraction | None = None

    def __iter__(self) -> Iterator[Frame]:
        """The images that can be read; the place of one that cannot stays empty in time."""
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
        """See `FrameReader.backwards`. Which images can be read is seen on a first way through."""
        found = [(frame.number, frame.time, path) for frame, path in islice(self._frames(), number + 1)]
        check_reached(self.name, number, len(found))
        for place, time, path in reversed(found):
            yield Frame(place, time, Image(path))

    def audio_template(self) -> Any | None:
        """Images have no audio."""
        return None

    def take_audio(self) -> list[Any]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing to let go of."""


def _natural(path: Path) -> list[tuple[int, str]]:
    """Names with numbers by value, so that 10.jpg comes after 9.jpg."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def check_reached(name: str, number: int, count: int) -> None:
    """Raises InputError if frame `number` is not among the first `count`, which are all that were found up to it."""
    if count <= number:
        raise InputError(f"{name}: no frame {number}; expected one from 0 to {count - 1}")


def read_ahead(
    frames: Iterable[Frame], hint: Callable[[list[Image]], None] | None = None, *, known: int = 0
) -> Generator[Frame]:
    """The same frames, a few of them decoded in the background, in order.

    Args:
        hint: told of frames as soon as they are there, such as `PrefetchingTracker.prefetch`, to encode them meanwhile.
        known: how many frames at the beginning have their masks already, and need no encoding.
    """
    source = iter(frames)
    waiting: deque[Future[Frame | None]] = deque()

    def read() -> Frame | None:
        frame = next(source, None)
        if hint is not None and frame is not None and frame.number >= known:
            hint([frame.image])
        return frame

    pool = ThreadPoolExecutor(1, thread_name_prefix="samovar-video")
    try:
        waiting.extend(pool.submit(read) for _ in range(_AHEAD))
        while (frame := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(read))
            yield frame
    finally:
        pool.shutdown(cancel_futures=True)
