"""`open_frames`: the reader for whatever the command line names."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

from samovar.errors import InputError
from samovar_adapters.video.frames.frame import FrameReader

__all__ = ["open_frames"]


def open_frames(source: str, *, rate: Fraction | None = None) -> FrameReader:
    """A reader of a video file or URL, a folder of pictures, `camera:N`, or `-` for standard input.

    Args:
        rate: frames a second, for a folder of pictures; 25 if not given.

    Raises:
        InputError: it is not there, or not a video.
        MissingExtraError: PyAV is not installed; folders do without it.
    """
    # os.path and not Path, which fails on what is too long for the name of a file.
    if os.path.isdir(source):  # noqa: PTH112
        from samovar_adapters.video.frames.folder import FolderReader

        return FolderReader(Path(source), rate or Fraction(25))

    from samovar_adapters.video.frames.stream import StreamReader

    if rate is not None:
        raise InputError(f"--rate is for folders of pictures; {source} has times of its own; leave it out")
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


_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation"), "win32": ("video={}", "dshow")}


class _Pipe:
    """Standard input, which can only be read onwards."""

    name = "standard input"

    def read(self, size: int) -> bytes:
        return sys.stdin.buffer.read(size)
