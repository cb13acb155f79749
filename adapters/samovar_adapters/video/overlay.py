"""`OverlayVideo`: the video with its masks drawn in, its times and its audio as they were."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from samovar.errors import InputError, SamovarError
from samovar.masks import Masks
from samovar.types import ObjectId
from samovar_adapters.formats import check_file
from samovar_adapters.overlay import draw_overlay
from samovar_adapters.video.frames import Frame, FrameReader
from samovar_adapters.video.stream import load_av, one_line

__all__ = ["OverlayVideo"]

_TICKS = Fraction(1, 90_000)


class OverlayVideo:
    """Writes H.264 (VP9 into .webm); the audio is copied packet by packet, never encoded anew.

    Frames keep their own times, so a variable rate stays one. A side of odd length grows by a pixel, as the formats
    want it. Closed half-way, the file ends there and plays; closed before the first frame, nothing is written at all.

    Args:
        path: of the video to write; the suffix says the container.
        frames: whose frames will come: its rate and its audio.

    Raises:
        InputError: a path that cannot be written, or a suffix of no container for video.
    """

    def __init__(self, path: str | os.PathLike[str], frames: FrameReader) -> None:
        av, path = load_av(), Path(path)
        self.problems: list[SamovarError] = []
        self._path, self._frames, self._av = path, frames, av
        check_file(path, "--out")
        try:
            self._file = av.open(os.path.abspath(path), "w")  # noqa: PTH100  (FFmpeg takes "12:30.mp4" for a protocol)
            self._video = self._stream(frames.rate.limit_denominator(1001))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be written as video: {one_line(error)}; name a .mp4, .mkv or .webm"
            ) from error
        self._audio = self._copy_of(frames.audio_template())
        self._last = -1
        self._closed = False
        self._places: dict[ObjectId, int] = {}

    def _copy_of(self, template: Any | None) -> Any | None:
        if template is None:
            return None
        takes = self._file.supported_codecs  # none at all where the container does not say
        if takes and template.codec_context.name not in takes:
            said = (
                f"{self._path}: its container takes no {template.codec_context.name} audio; written silent; name a .mkv"
            )
            self.problems.append(SamovarError(said))
            return None
        return self._file.add_stream_from_template(template)

    def write(self, frame: Frame, masks: Masks) -> None:
        """Draw and encode one frame, and pass on the audio that was read with it.

        Raises:
            SamovarError: the disk takes no more.
        """
        drawn = draw_overlay(frame.image, self._in_place(masks))
        drawn = np.pad(drawn, [(0, drawn.shape[0] % 2), (0, drawn.shape[1] % 2), (0, 0)], mode="edge")
        if self._last < 0:
            self._video.height, self._video.width = drawn.shape[:2]
        encoded = self._av.VideoFrame.from_ndarray(drawn, format="rgb24")
        encoded.time_base = _TICKS
        encoded.pts = self._last = max(self._last + 1, round(frame.time / _TICKS))
        with self._telling():
            self._mux(self._video.encode(encoded))

    def _in_place(self, masks: Masks) -> Masks:
        """Every object at its own place in the order of appearance, so that it keeps its colour and its number."""
        places = [self._places.setdefault(ident, len(self._places)) for ident in masks.ids]
        shown = dict(zip(places, masks))
        nothing = Masks.from_crops([np.zeros((0, 0), np.bool_)], [[0, 0]], masks.width, masks.height)
        rows = [shown.get(place, nothing) for place in range(len(self._places))]
        return Masks.concat([mask.replace(logits=None, stability=None) for mask in rows]) if rows else masks

    def _stream(self, rate: Fraction) -> Any:
        """What the frames go to; their size comes with the first of them."""
        webm = self._path.suffix.lower() == ".webm"
        stream = self._file.add_stream("libvpx-vp9" if webm else "libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TICKS
        stream.options = {"crf": "30", "b": "0"} if webm else {"crf": "20", "preset": "veryfast"}
        return stream

    def _mux(self, packets: Iterable[Any]) -> None:
        """Write packets of video, and those of audio that were read meanwhile."""
        for packet in packets:
            self._file.mux(packet)
        audio = self._frames.take_audio()
        if self._audio is not None:
            for packet in audio:
                packet.stream = self._audio
                self._file.mux(packet)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What FFmpeg complains of in here, as SamovarError."""
        try:
            yield
        except self._av.error.FFmpegError as error:
            # A container that takes no H.264 may say so only now, as an invalid argument.
            remedy = "name a .mp4, .mkv or .webm" if isinstance(error, ValueError) else "mend that and run again"
            raise SamovarError(f"{self._path}: cannot be written: {one_line(error)}; {remedy}") from error

    def close(self) -> None:
        """Finish the file. Idempotent. Raises SamovarError when the disk takes no more."""
        if self._closed:
            return
        self._closed = True
        with self._telling(), closing(self._file):
            if self._last >= 0:
                self._mux(self._video.encode(None))
