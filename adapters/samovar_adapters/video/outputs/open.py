"""`TrackSink`, and the sink for a path on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from samovar.errors import InputError
from samovar.masks import Masks
from samovar_adapters.video.frames.frame import Frame
from samovar_adapters.video.outputs.coco_video import CocoVideo
from samovar_adapters.video.outputs.folder import MaskFolder
from samovar_adapters.video.outputs.numbering import Numbering
from samovar_adapters.video.outputs.text import MotsText

__all__ = ["TrackSink", "open_masks"]


class TrackSink(Protocol):
    """Takes frames with their masks, in order."""

    def write(self, frame: Frame, masks: Masks) -> None:
        """One frame and the masks of all objects, empty ones included."""

    def close(self) -> None:
        """Finish: after it the output is complete and valid."""


def open_masks(path: str | os.PathLike[str], name: str, numbering: Numbering | None = None) -> TrackSink:
    """MOTS text for `.txt`, COCO-video for `.json`, else a folder of indexed PNGs.

    Args:
        name: of the video, for formats that keep it.
        numbering: shared by several outputs, so that an object has one number in all of them.

    Raises:
        InputError: another suffix, or a path that cannot be written.
    """
    path, numbering = Path(path), numbering or Numbering()
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return MotsText(path, numbering)
    if suffix == ".json":
        return CocoVideo(path, name, numbering)
    if suffix:
        raise InputError(f"--masks takes a .txt (MOTS), a .json (COCO-video) or a folder; got {str(path)!r}")
    return MaskFolder(path, numbering)
