"""The video with its masks drawn in, its times and its sound as they were."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, SamovarError
from samovar.masks import Masks
from samovar.prompts import Ident
from samovar_adapters.formats.files import check_file
from samovar_adapters.overlay.draw import draw_overlay
from samovar_adapters.video.frames.frame import Frame, FrameReader
from samovar_adapters.video.pyav import load_av, one_line

__all__ = ["OverlayVideo"]

_TICKS = Fraction(1, 90_000)


class OverlayVideo:
    """Writes H.264 (VP9 into .webm); the sound is copied packet by packet, never encoded anew.

    Frames keep their own times, so a variable rate stays one. A side of odd length grows by a pixel, as the formats
    want it. Closed half-way, the file ends there and plays.

    Args:
        path: of the video to write; the suffix says the container.
        frames: whose frames will come: its rate and its sound.

    Raises:
        InputError: a path that cannot be written, or a suffix that no container has.
    """

    def __init__(self, path: str | os.PathLike[str], frames: FrameReader) -> None:
        av, path = load_av(), Path(path)
        self.problems: list[SamovarError] = []
        self._path, self._frames, self._av = path, frames, av
        check_file(path, "--out")
        try:
            self._file = av.open(str(path), "w")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be written as video: {one_line(error)}; name a .mp4, .mkv or .webm"
            ) from error
        self._video: Any = None
        self._sound = self._copy_of(frames.sound_template())
        self._last = -1
        self._places: dict[Ident, int] = {}

    def _copy_of(self, template: Any | None) -> Any | None:
        if template is None:
            return None
        if template.codec_context.name not in self._file.supported_codecs:
            said = (
                f"{self._path}: its container takes no {template.codec_context.name} sound; written silent; name a .mkv"
            )
            self.problems.append(SamovarError(said))
            return None
        return self._file.add_stream_from_template(template)

    def write(self, frame: Frame, masks: Masks) -> None:
        """Draw and encode one frame, and pass on the sound that was read with it."""
        picture = draw_overlay(frame.image, self._in_place(masks))
        picture = np.pad(picture, [(0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)], mode="edge")
        if self._video is None:
            self._video = self._stream(picture)
        encoded = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
        encoded.time_base = _TICKS
        encoded.pts = self._last = max(self._last + 1, round(frame.time / _TICKS))
        self._mux(self._video.encode(encoded))
        self._pass_sound()

    def _in_place(self, masks: Masks) -> Masks:
        """Every object at its own place in the order of appearance, so that it keeps its colour and its number."""
        places = [self._places.setdefault(ident, len(self._places)) for ident in masks.ids]
        shown = dict(zip(places, masks))
        nothing = Masks.from_crops([np.zeros((0, 0), np.bool_)], [[0, 0]], masks.width, masks.height)
        rows = [shown.get(place, nothing) for place in range(len(self._places))]
        return Masks.concat([mask.replace(logits=None, stability=None) for mask in rows]) if rows else masks

    def _stream(self, picture: NDArray[np.uint8]) -> Any:
        webm = self._path.suffix.lower() == ".webm"
        rate = self._frames.rate.limit_denominator(1001)
        stream = self._file.add_stream("libvpx-vp9" if webm else "libx264", rate=rate)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TICKS
        stream.options = {"crf": "30", "b": "0"} if webm else {"crf": "20", "preset": "veryfast"}
        return stream

    def _pass_sound(self) -> None:
        packets = self._frames.take_sound()
        if self._sound is not None:
            for packet in packets:
                packet.stream = self._sound
            self._mux(packets)

    def _mux(self, packets: Iterable[Any]) -> None:
        try:
            for packet in packets:
                self._file.mux(packet)
        except self._av.error.FFmpegError as error:
            raise SamovarError(
                f"{self._path}: cannot be written: {one_line(error)}; mend that and run again"
            ) from error

    def close(self) -> None:
        """Finish the file; without a single frame there is none."""
        if self._file is None:
            return
        file = self._file
        try:
            if self._video is not None:
                self._mux(self._video.encode(None))
                self._pass_sound()
        finally:
            file.close()
            self._file = None
            if self._video is None:
                self._path.unlink(missing_ok=True)
