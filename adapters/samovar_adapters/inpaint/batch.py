"""Painting files: each one segmented and painted, and its picture kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samovar.cli.job import write_masks
from samovar.errors import InputError
from samovar.image import Image, image_suffixes
from samovar.masks import Masks
from samovar.pipeline import Item
from samovar.runtime import Runtime
from samovar_adapters.formats import ImageFileSink, png

__all__ = ["paint_files"]

MasksOf = Callable[[Item, Image], Masks]
Paint = Callable[[Image, Masks], NDArray[np.uint8]]


def paint_files(
    runtime: Runtime,
    paths: Sequence[str],
    what: str,
    masks_of: MasksOf,
    paint: Paint,
    *,
    out: str | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Segment and paint every image of `paths`; return the exit status.

    Args:
        what: what the pictures are called: `photo.removed.png` for one photo, the folder `samovar-removed` for several.

    Raises:
        InputError: a path that cannot be written.
    """
    sink = _Painted(out or _place(paths, what))
    for path in paths:
        # os.path and not Path, which fails on what is too long for the name of a file.
        if sink.single and os.path.exists(path) and sink.path.exists() and os.path.samefile(path, sink.path):  # noqa: PTH110, PTH121
            raise InputError(f"{sink.path} is what is read; name another file to write")

    def segment(item: Item, image: Image) -> Masks:
        masks = masks_of(item, image)
        sink.take(item.key, paint(image, masks))
        return masks

    return write_masks(
        runtime, paths, segment, {what: sink}, where=str(sink.path), resume=resume, as_json=as_json, quiet=quiet
    )


class _Painted(ImageFileSink):
    """One picture per image. Painting comes before writing, so that an image that cannot be painted ends no job."""

    name = "inpaint"
    suffix = ".png"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if Path(path).suffix.lower() in image_suffixes() - {".png"} and not os.path.isdir(path):  # noqa: PTH112
            raise InputError(
                f"pictures are written as PNG, so that what was not painted stays exact; got {str(path)!r}; name a .png"
            )
        super().__init__(path)
        self._waiting: dict[str, bytes] = {}

    def take(self, key: str, pixels: NDArray[np.uint8]) -> None:
        """The picture that the next `write` of `key` is to keep."""
        self._waiting[key] = png(pixels)

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        return self._waiting.pop(key)


def _place(paths: Sequence[str], what: str) -> str:
    """Where pictures go when nobody said."""
    single = len(paths) == 1 and not Path(paths[0]).is_dir() and not any(mark in paths[0] for mark in "*?[")
    return f"{Path(paths[0].rpartition('/')[2]).stem}.{what}.png" if single else f"samovar-{what}"
