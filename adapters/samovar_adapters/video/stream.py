"""Frames from video files, pipes and cameras, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samovar.errors import ImageError, InputError, MissingExtraError, SamovarError
from samovar.image import Image
from samovar_adapters.video.frames import Frame, check_reached

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["StreamReader", "load_av", "one_line"]

_BACK = 16  # frames in memory at a time on the way back
_RESTART = Fraction(1, 4)  # second: a frame that is this much earlier than the one before begins a new count
_SHORT = Fraction(1, 2)  # seconds that may lack at the end before a file is called cut short
_AUDIO_WAITING = 4096  # packets: about a minute and a half; what nobody takes must not pile up


def load_av() -> Any:
    """The `av` module, silent. Raises MissingExtraError."""
    try:
        av = import_module("av")
    except ImportError as error:
        raise MissingExtraError(
            f'reading and writing video needs PyAV ({error}); run: pip install "samovar[video]"'
        ) from error
    # No level at all: with any other, FFmpeg's threads wait for Python's lock even to say nothing, and for ever where
    # Python holds it while it closes the decoder that they work for.
    av.logging.set_level(None)
    return av


def one_line(error: Exception) -> str:
    """What went wrong, without FFmpeg's number and file name."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


class _Mark(NamedTuple):
    """A frame that is there."""

    time: Fraction
    pts: int
    key: bool


class StreamReader:
    """Whatever FFmpeg reads. Decoded upright, with the times that the video has, in the size of its first frame.

    What is damaged is left out and named in `problems`; a video that ends before its own index says so is, too.
    """

    def __init__(self, source: Any, name: str, *, form: str | None = None) -> None:
        av = load_av()
        self.name = name
        self.problems: list[SamovarError] = []
        self._error = av.error.FFmpegError
        try:
            self._container = av.open(source, format=form)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{name}: expected a video; {one_line(error)}; check it with ffprobe") from error
        if not self._container.streams.video:
            self._container.close()
            raise InputError(f"{name}: expected a video; got a file without moving pictures; name another")
        self._video = self._container.streams.video[0]
        self._video.thread_type = "AUTO"
        self._audio = next(iter(self._container.streams.audio), None)
        self._packets: deque[Any] = deque(maxlen=_AUDIO_WAITING)
        self.rate = Fraction(self._video.average_rate or self._video.guessed_rate or 25)
        self.length: int | None = self._video.frames or None
        aspect = self._video.sample_aspect_ratio
        self.pixel_aspect: Fraction | None = aspect if aspect and aspect != 1 else None

    def __iter__(self) -> Iterator[Frame]:
        """The frames that can be decoded."""
        return (frame for frame, _ in self._frames())

    def _frames(self) -> Iterator[tuple[Frame, VideoFrame]]:
        number, size = 0, None
        last = end = shift = Fraction(0)
        usual = 1 / self.rate
        for decoded in self._decoded():
            pixels = _upright(decoded)
            size = size or pixels.shape
            if pixels.shape != size:
                expected, got = f"{size[1]}×{size[0]}", f"{pixels.shape[1]}×{pixels.shape[0]}"
                self._complain(f"frame {number}: expected {expected} like the first; got {got}; left out")
                continue
            time = None if decoded.pts is None else decoded.pts * decoded.time_base + shift
            if number == 0:
                time = Fraction(0) if time is None else time
                if self.pixel_aspect is not None and pixels.shape[:2] != (decoded.height, decoded.width):
                    self.pixel_aspect = 1 / self.pixel_aspect  # lies on its side in the file
            elif time is None or time < last - _RESTART:  # joined recordings, a camera that was lost: it goes on
                shift += 0 if time is None else end - time
                time = end
            last = time if number == 0 else max(time, last + Fraction(1, 90_000))
            end = last + (decoded.duration * decoded.time_base if decoded.duration else usual)
            yield self._frame(number, last, pixels), decoded
            number += 1
        if number == 0:
            raise InputError(f"{self.name}: expected a video; got no frame that can be decoded; export it again")
        told = self._told_end()
        short = told is not None and end < told - _SHORT and (self.length is None or number < self.length)
        if told is not None and short and not self.problems:
            self._complain(f"ends at {float(end):.2f} of {float(told):.2f} s, {number} frames; the file is cut short")

    def _told_end(self) -> Fraction | None:
        """When the video ends, in seconds, as its index says: its number of frames counts what edits hide."""
        stream = self._video
        if stream.duration:
            return Fraction((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base)
        parts = stream.metadata.get("DURATION", "").split(":")  # of Matroska
        try:
            hours, minutes, seconds = (Fraction(part) for part in parts)
        except ValueError:
            return None
        return 3600 * hours + 60 * minutes + seconds

    def _frame(self, number: int, time: Fraction, pixels: NDArray[np.uint8]) -> Frame:
        return Frame(number, time, Image(pixels, name=f"{self.name} frame {number}"))

    def backwards(self, number: int) -> Iterator[Frame]:
        """See `FrameReader.backwards`.

        The first way through only notes which frames there are. Then a few at a time are decoded again, from the key
        frame before them.
        """
        marks = [
            _Mark(frame.time, decoded.pts, decoded.key_frame) for frame, decoded in islice(self._frames(), number + 1)
        ]
        check_reached(self.name, number, len(marks))
        if None in {mark.pts for mark in marks} or len({mark.pts for mark in marks}) < len(marks):
            raise InputError(
                f"{self.name}: cannot be read backwards, its frames have no times of their own; give them some with "
                "ffmpeg -fflags +genpts -i VIDEO -c copy NEW.mkv"
            )
        while marks:
            start = max(0, len(marks) - _BACK)
            key = next((marks[place] for place in range(start, -1, -1) if marks[place].key), marks[0])
            found = self._again(marks, start, key)
            if len(found) < len(marks) - start:  # an index that leads astray: from the beginning, then
                found = self._again(marks, start, marks[0])
            if len(found) < len(marks) - start:
                raise InputError(
                    f"{self.name}: frames near {float(key.time):.2f} s cannot be read backwards; export it again"
                )
            while len(marks) > start:
                yield found.pop(len(marks) - 1)
                marks.pop()

    def _again(self, marks: list[_Mark], start: int, key: _Mark) -> dict[int, Frame]:
        """Those frames from `start` to the end of `marks` that decoding from `key` on gives, by their numbers."""
        wanted = {marks[number].pts: number for number in range(start, len(marks))}
        found: dict[int, Frame] = {}
        try:
            self._container.seek(key.pts, stream=self._video)
        except self._error as error:
            raise InputError(f"{self.name}: cannot be read backwards: {one_line(error)}; give a file") from error
        for decoded in self._decoded():
            number = wanted.get(decoded.pts)
            if number is not None:
                found[number] = self._frame(number, marks[number].time, _upright(decoded))
            if len(found) == len(wanted) or (decoded.pts or 0) > marks[-1].pts:
                break
        return found

    def _decoded(self) -> Iterator[VideoFrame]:
        streams = [self._video] if self._audio is None else [self._video, self._audio]
        try:
            for packet in self._container.demux(streams):
                if packet.stream is not self._video:
                    if packet.dts is not None:
                        self._packets.append(packet)
                    continue
                try:
                    yield from packet.decode()
                except self._error as error:
                    self._complain(f"damaged at {float((packet.pts or 0) * packet.time_base):.2f} s: {one_line(error)}")
        except self._error as error:
            self._complain(f"cannot be read further: {one_line(error)}")

    def _complain(self, what: str) -> None:
        self.problems.append(ImageError(f"{self.name}: {what}"))

    def audio_template(self) -> Any | None:
        """The first stream of audio."""
        return self._audio

    def take_audio(self) -> list[Any]:
        """Its packets read since the last call."""
        taken = []
        while self._packets:
            taken.append(self._packets.popleft())
        return taken

    def close(self) -> None:
        """Close the file, pipe or camera."""
        self._container.close()


def _upright(decoded: VideoFrame) -> np.ndarray[Any, np.dtype[np.uint8]]:
    turns = round(decoded.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(decoded.to_ndarray(format="rgb24"), turns))
