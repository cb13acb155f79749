"""Images in files: what is segmented in each of them, and each one painted and kept as a PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from samovar.cli.job import write_masks
from samovar.cli.options import PromptArguments
from samovar.errors import InputError
from samovar.image import Image, image_suffixes, read_mask
from samovar.loading import open_source
from samovar.masks import Masks
from samovar.pipeline import Item, key_of_one
from samovar.runtime import Runtime
from samovar_adapters.formats import ImageFileSink, png
from samovar_adapters.inpaint.jobs import as_masks

__all__ = ["paint_files", "selected"]

MasksOf = Callable[[Item, Image], Masks]
Paint = Callable[[Image, Masks], NDArray[np.uint8]]


def selected(runtime: Runtime, prompts: PromptArguments, source: str | None) -> Callable[[Item, Image], Masks]:
    """The masks of an image, as the command line says. A mask file by itself is the answer, and no model is asked.

    Raises:
        click.UsageError: nothing to segment, or two ways of saying it.
        InputError: a mask file or a source that cannot be used.
    """
    others = bool(replace(prompts, mask_file=None)) + bool(source)
    if others + bool(prompts.mask_file) > 1:
        raise click.UsageError("give prompts, --source or --mask; got more than one of them")
    if source:
        finder = open_source(source)
        return lambda item, image: runtime.segment(image, finder.prompts([image])[0])
    if not prompts:
        ways = "give --point, --box, --text or --prompts, or --source or --mask"
        raise click.UsageError(f"nothing to segment: {ways}")
    if prompts.mask_file:
        mask = read_mask(prompts.mask_file)
        return lambda item, image: as_masks(mask, image.width, image.height)
    prompts_of = prompts.of_images()
    return lambda item, image: runtime.segment(image, prompts_of(item.key))


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
        what: what the results are called: `photo.removed.png` for one photo, the folder `samovar-removed` for several.

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
    """One PNG per image. Painting comes before writing, so that an image that cannot be painted ends no job."""

    name = "inpaint"
    suffix = ".png"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if Path(path).suffix.lower() in image_suffixes() - {".png"} and not os.path.isdir(path):  # noqa: PTH112
            raise InputError(
                f"images are written as PNG, so that what was not painted stays exact; got {str(path)!r}; name a .png"
            )
        super().__init__(path)
        self._waiting: dict[str, bytes] = {}

    def take(self, key: str, pixels: NDArray[np.uint8]) -> None:
        """The pixels that the next `write` of `key` is to keep."""
        self._waiting[key] = png(pixels)

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        return self._waiting.pop(key)


def _place(paths: Sequence[str], what: str) -> str:
    """Where the results go when nobody said."""
    only = key_of_one(paths)
    return f"samovar-{what}" if only is None else f"{Path(only).stem}.{what}.png"
