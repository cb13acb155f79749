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
from samovar_adapters.video.outputs import Numbering
from samovar_adapters.video.stream import load_av, one_line

__all__ = ["OverlayVideo"]

_TICKS = Fraction(1, 90_000)
_LATE, _BEFORE = 10, Fraction(1, 10)  # seconds: a first frame after this is brought forward, to what is left for audio
_HD = 720  # lines
_BT709, _BT601, _LIMITED = 1, 6, 1  # as H.273 numbers colours, and FFmpeg ranges


class OverlayVideo:
    """Writes H.264 (VP9 into .webm); the audio is copied packet by packet, never encoded anew.

    Frames keep their own times, so a variable rate stays one; those that begin late, as in recordings of a broadcast,
    are brought forward. A side of odd length grows by a pixel, as the formats want it. Colours are tagged with what
    they were encoded by: BT.709 from 720 lines on, else BT.601. Closed half-way, the file ends there and plays; closed
    before the first frame, nothing is written at all.

    Args:
        path: of the video to write; the suffix says the container.
        frames: whose frames will come: its rate, the shape of its pixels and its audio.
        numbering: shared by several outputs, so that an object has one number in all of them.

    Raises:
        InputError: a path that cannot be written, or a suffix of no container for video.
    """

    def __init__(self, path: str | os.PathLike[str], frames: FrameReader, numbering: Numbering | None = None) -> None:
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
        self._numbering = numbering or Numbering()
        self._origin = Fraction(0)
        self._last = -1
        self._last_audio: int | None = None
        self._lost_audio = 0
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
        shown = self._in_place(masks)
        numbers = [self._numbering.object(ident) for ident in self._places]
        drawn = draw_overlay(frame.image, shown, numbers=numbers)
        drawn = np.pad(drawn, [(0, drawn.shape[0] % 2), (0, drawn.shape[1] % 2), (0, 0)], mode="edge")
        wide = drawn.shape[0] >= _HD
        if self._last < 0:
            self._describe(*drawn.shape[:2], wide=wide)
            if frame.time > _LATE:
                self._origin = frame.time - _BEFORE
        encoded = self._av.VideoFrame.from_ndarray(drawn, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709" if wide else "ITU601", dst_color_range="MPEG"
        )
        encoded.time_base = _TICKS
        encoded.pts = self._last = max(self._last + 1, round((frame.time - self._origin) / _TICKS))
        with self._telling():
            self._mux(self._video.encode(encoded))

    def _describe(self, height: int, width: int, *, wide: bool) -> None:
        """Say what the frames are: their size, the shape of their pixels, and what their colours mean."""
        self._video.height, self._video.width = height, width
        context = self._video.codec_context
        if self._frames.pixel_aspect is not None:
            context.sample_aspect_ratio = self._frames.pixel_aspect
        # Players take what is untagged for BT.709 from 720 lines on, whatever it was encoded by.
        code = _BT709 if wide else _BT601
        context.colorspace = context.color_primaries = context.color_trc = code
        context.color_range = _LIMITED

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
        for packet in self._frames.take_audio() if self._audio is not None else ():
            shift = round(self._origin / packet.time_base)
            packet.dts, packet.pts = packet.dts - shift, None if packet.pts is None else packet.pts - shift
            late = self._last_audio is not None and packet.dts <= self._last_audio
            if late or (shift and packet.dts < 0):
                self._lost_audio += 1
                continue
            self._last_audio = packet.dts  # before the muxer puts it into units of its own
            try:
                packet.stream = self._audio
                self._file.mux(packet)
            except ValueError:  # a damaged packet, which FFmpeg cannot make sense of; a full disk is an OSError
                self._lost_audio += 1

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What FFmpeg complains of in here, as SamovarError."""
        try:
            yield
        except self._av.error.FFmpegError as error:
            # A container that takes no H.264 may say so only now, as an invalid argument.
            remedy = "name a .mp4, .mkv or .webm" if isinstance(error, ValueError) else "put that right and run again"
            raise SamovarError(f"{self._path}: cannot be written: {one_line(error)}; {remedy}") from error

    def close(self) -> None:
        """Finish the file. Idempotent. Raises SamovarError when the disk takes no more."""
        if self._closed:
            return
        self._closed = True
        with self._telling(), closing(self._file):
            if self._last >= 0:
                self._mux(self._video.encode(None))
        if self._lost_audio:
            lost = f"{self._lost_audio} packet{'s'[: self._lost_audio > 1]} of audio"
            said = f"{self._path}: {lost} left out, damaged or out of order"
            self.problems.append(SamovarError(said))
