"""Images in files: what is segmented in each of them, and each one painted and kept as a PNG.

A result keeps what the file has beside its colours: transparency, colour profile, EXIF and resolution.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, ImageOps
from PIL import Image as Pillow

from samovar.cli.job import run_job
from samovar.cli.options import PromptArguments
from samovar.errors import InputError
from samovar.image import Image, image_suffixes, read_mask
from samovar.inpainting import Inpainter
from samovar.loading import open_source
from samovar.masks import Masks
from samovar.pipeline import Item, key_of_one
from samovar.runtime import Runtime
from samovar_adapters.formats import ImageFileSink, png
from samovar_adapters.inpaint.jobs import as_masks
from samovar_adapters.inpaint.repainting import open_inpainter

__all__ = ["Paint", "fading_too", "paint_files", "selected"]

MasksOf = Callable[[Item, Image], Masks]
Paint = Callable[[Image, Masks, "NDArray[np.uint8] | None"], NDArray[np.uint8]]
"""An image, its masks, and its H×W alpha if it has transparent parts; the result H×W×3, or H×W×4 with alpha."""


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


def fading_too(
    paint: Callable[[Image, Masks, Inpainter | None], NDArray[np.uint8]], inpainter: Inpainter | None
) -> Paint:
    """`paint` for images with transparent parts: what is done to the colours is done to the alpha as well.

    What fills a hole in the alpha continues smoothly what is around it: a hole in what is opaque becomes opaque.
    """

    def painted(image: Image, masks: Masks, alpha: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        pixels = paint(image, masks, inpainter)
        if alpha is None:
            return pixels
        grey = Image(np.repeat(alpha[..., None], 3, axis=2))
        return np.dstack([pixels, paint(grey, masks, open_inpainter("telea"))[..., 0]])

    return painted


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
        kept = _Kept.of(image)
        sink.take(item.key, kept.put_into(png(paint(image, masks, kept.alpha))))
        return masks

    return run_job(
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

    def take(self, key: str, data: bytes) -> None:
        """The PNG that the next `write` of `key` is to keep."""
        self._waiting[key] = data

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        return self._waiting.pop(key)


@dataclass(frozen=True, eq=False)
class _Kept:
    """What a file has beside its colours.

    Attributes:
        alpha: H×W uint8, upright as the pixels are; None where nothing is transparent.
        chunks: of a PNG: the colour profile if it is one of RGB, EXIF without its orientation, the resolution.
    """

    alpha: NDArray[np.uint8] | None = None
    chunks: bytes = b""

    @classmethod
    def of(cls, image: Image) -> _Kept:
        """Of the file that was decoded; nothing of an image that was in no file, such as one from a URL."""
        if image.path is None:
            return cls()
        with Pillow.open(image.path) as file:
            profile, exif, dpi = file.info.get("icc_profile") or b"", file.getexif(), file.info.get("dpi")
            alpha = None
            if file.has_transparency_data:
                alpha = np.asarray(ImageOps.exif_transpose(file.convert("RGBA")).getchannel("A"))
        chunks = b""
        if profile[16:20] == b"RGB ":  # the pixels are RGB now, whatever the file has
            chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
        dots = [round(float(side) / 0.0254) for side in dpi] if dpi else []
        if len(dots) == 2 and all(0 < side < 1 << 31 for side in dots):
            chunks += _chunk(b"pHYs", struct.pack(">IIB", *dots, 1))
        exif.pop(ExifTags.Base.Orientation, None)
        if len(exif):
            chunks += _chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        return cls(alpha if alpha is not None and alpha.min() < 255 else None, chunks)

    def put_into(self, data: bytes) -> bytes:
        """A PNG with the chunks behind its header."""
        header = 8 + 25  # the signature and IHDR
        return data[:header] + self.chunks + data[header:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _place(paths: Sequence[str], what: str) -> str:
    """Where the results go when nobody said."""
    only = key_of_one(paths)
    return f"samovar-{what}" if only is None else f"{Path(only).stem}.{what}.png"
