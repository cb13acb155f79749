"""Painting files: what is to be segmented in each, and where its picture goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from samovar.cli.job import perform
from samovar.cli.prompts import chosen_prompts
from samovar.errors import InputError
from samovar.image import Image
from samovar.image.mask_file import read_mask
from samovar.loading import load, open_source
from samovar.masks import Masks
from samovar.runtime import Runtime
from samovar.worklist import Item
from samovar_adapters.formats.pictures import png
from samovar_adapters.formats.sink import ImageFileSink
from samovar_adapters.inpaint.masks import as_masks

__all__ = ["paint_files"]

Paint = Callable[[Image, Masks], NDArray[np.uint8]]


def paint_files(
    paths: Sequence[str],
    what: str,
    paint: Paint,
    *,
    out: str | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    points: Sequence[tuple[float, float, float]],
    boxes: Sequence[tuple[float, float, float, float]],
    texts: Sequence[str],
    prompts_file: str | None,
    label: str | None,
    source: str | None,
    mask_file: str | None,
    **loading: Any,
) -> int:
    """Segment and paint every image of `paths`; return the exit status.

    Args:
        what: what the pictures are called: `photo.removed.png` for one photo, the folder `samovar-removed` for several.

    Raises:
        click.UsageError: nothing to segment, or two ways of saying it.
        InputError: a path that cannot be written, a mask file or a source that cannot be used.
    """
    prompted = bool(points or boxes or texts or prompts_file)
    if prompted + bool(source) + bool(mask_file) > 1:
        raise click.UsageError("give prompts, --source or --mask; got more than one of them")
    runtime = load(loading.pop("model"), **loading)
    if mask_file:
        masks_of = _from_mask(mask_file)
    elif source:
        masks_of = _from_source(runtime, source)
    else:
        prompts_for = chosen_prompts(points, boxes, texts, prompts_file, label, "--source or --mask")

        def masks_of(item: Item, image: Image) -> Masks:
            return runtime.segment(image, prompts_for(item.key))

    sink = _Painted(out or _place(paths, what))

    def segment(item: Item, image: Image) -> Masks:
        masks = masks_of(item, image)
        sink.take(item.key, paint(image, masks))
        return masks

    return perform(
        runtime, paths, segment, {what: sink}, where=str(sink.path), resume=resume, as_json=as_json, quiet=quiet
    )


class _Painted(ImageFileSink):
    """One picture an image. Painting comes before writing, so that an image that cannot be painted ends no job."""

    name = "inpaint"
    suffix = ".png"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if Path(path).suffix.lower() in {".jpg", ".jpeg", ".webp"}:
            raise InputError(
                f"pictures are written as PNG, so that what was not painted stays exact; got {str(path)!r}"
            )
        super().__init__(path)
        self._waiting: dict[str, bytes] = {}

    def take(self, key: str, pixels: NDArray[np.uint8]) -> None:
        """The picture that the next `write` of `key` is to keep."""
        self._waiting[key] = png(pixels)

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        return self._waiting.pop(key)


def _from_mask(path: str) -> Callable[[Item, Image], Masks]:
    mask = read_mask(path)
    return lambda item, image: as_masks(mask, image.width, image.height)


def _from_source(runtime: Runtime, source: str) -> Callable[[Item, Image], Masks]:
    prompts = open_source(source)
    return lambda item, image: runtime.segment(image, prompts.prompts([image])[0])


def _place(paths: Sequence[str], what: str) -> str:
    """Where pictures go when nobody said."""
    single = len(paths) == 1 and not Path(paths[0]).is_dir() and not any(mark in paths[0] for mark in "*?[")
    return f"{Path(paths[0].rpartition('/')[2]).stem}.{what}.png" if single else f"samovar-{what}"
