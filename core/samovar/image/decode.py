"""Encoded bytes to RGB pixels, by Pillow, with every way that a file can be wrong told in one line.

What becomes of what is not plain 8-bit RGB:

- EXIF orientation is applied (from the header; an orientation that only follows the pixel data is not looked for).
- Alpha is dropped, not composited: these are the colours that `PIL.Image.convert("RGB")` gives and that every SAM
  tool feeds its model, so masks agree with theirs.
- Grey, palette, CMYK, YCbCr and HSV become RGB by Pillow's plain formulas; ICC profiles are not applied.
- 16 bits a channel keep their upper eight, for grey exactly as Pillow does it for colour; with a `value_range` grey is
  scaled by that instead. 32-bit integer and float pixels have no natural range and need one.
- Of an animation or of several pages, the first.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFile, UnidentifiedImageError, features
from PIL.ExifTags import Base as Tag

from samovar.errors import ImageError, image_error, one_line
from samovar.image.arrays import RANGE_ADVICE, ValueRange, scale

__all__ = ["RULES", "UNSAFE_FORMATS", "decode", "decode_mask", "decoder_id", "pixels_of", "read_size"]

UNSAFE_FORMATS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Never opened: EPS runs Ghostscript on the file, and of the others Pillow knows the name but cannot decode them."""

# Pillow logs some damage besides raising. Without any handler Python would print that on standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())

RULES = 1
"""Version of what this module makes of a file. Raise it when any file gives other pixels than before."""

_SIDEWAYS = (5, 6, 7, 8)
_TRANSPOSE = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_ADVICE = "export it again as PNG or JPEG, or leave it out"


def read_size(stream: BinaryIO, label: str, max_pixels: int) -> tuple[int, int]:
    """(width, height) from the header alone, orientation applied. Raises ImageError, also for too many pixels."""
    with _one_line_errors(label), _identify(stream, label) as image:
        width, height = _checked_size(image, label, max_pixels)
        return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def decode(stream: BinaryIO, label: str, max_pixels: int, value_range: ValueRange | None) -> NDArray[np.uint8]:
    """H×W×3 uint8 RGB, read-only. Raises ImageError."""
    with _one_line_errors(label), _identify(stream, label) as image:
        return pixels_of(image, label, max_pixels, value_range)


def pixels_of(image: Pillow.Image, label: str, max_pixels: int, value_range: ValueRange | None) -> NDArray[np.uint8]:
    """An open Pillow image as H×W×3 uint8 RGB, read-only, orientation applied. Raises ImageError."""
    with _one_line_errors(label):
        _checked_size(image, label, max_pixels)
        pixels = _to_rgb(_upright(image), label, value_range)
        pixels.setflags(write=False)
        return pixels


def decode_mask(stream: BinaryIO, label: str, max_pixels: int) -> NDArray[np.bool_]:
    """H×W bool: True where the image is not black, orientation applied, alpha dropped. Raises ImageError."""
    with _one_line_errors(label), _identify(stream, label) as image:
        if image.mode.startswith("I") or image.mode == "F":
            _checked_size(image, label, max_pixels)
            values = np.asarray(_upright(image))  # not scaled to 8 bits: small numbers would become black
        else:
            values = pixels_of(image, label, max_pixels, None).max(axis=2)
        return values.astype(np.bool_)


def decoder_id(value_range: ValueRange | None) -> str:
    """Identifies the rules, the libraries and the parameters that decide what pixels a file gives."""
    jpeg = features.version_feature("libjpeg_turbo") or features.version_codec("jpg")
    torn = " and torn files" if ImageFile.LOAD_TRUNCATED_IMAGES else ""
    return f"samovar {RULES}; Pillow {PIL.__version__}; JPEG {jpeg}; range {value_range}{torn}"


def _to_rgb(image: Pillow.Image, label: str, value_range: ValueRange | None) -> NDArray[np.uint8]:
    mode = image.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        values = np.asarray(image)
        if value_range is not None:
            grey = scale(values, value_range, label)
        elif mode.startswith("I;16") or image.format == "PPM":  # Pillow widens a 16-bit PGM to 32 bits, 0 to 65535
            grey = (values >> 8).astype(np.uint8)
        else:
            kind = "float" if mode == "F" else "integer"
            raise image_error(label, "8 or 16 bits a channel", f"32-bit {kind} pixels", RANGE_ADVICE)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if value_range is not None:
        raise image_error(
            label, "16-bit grey, integer or float pixels with a value_range", f"8-bit {mode}", "leave it out"
        )
    if mode == "LAB":
        raise image_error(label, "RGB, grey, palette or CMYK", "Lab colours", "convert it to RGB first")
    if mode in ("RGBa", "La"):  # premultiplied; Pillow takes these to RGB only by way of straight alpha
        image = image.convert(mode[:-1] + "A")
    # An array over Pillow's own bytes: read-only to the ground, no second copy.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _identify(stream: BinaryIO, label: str) -> Pillow.Image:
    """The first of Pillow's formats that accepts the file.

    This is what `PIL.Image.open` does, but that one also enforces a pixel bound which is a global variable of Pillow:
    it could not be raised for one image alone, and it warns at half of it.
    """
    prefix = stream.read(16)
    if not prefix:
        raise image_error(label, "an image", "an empty file (0 bytes)", "copy or export it again, or leave it out")
    tried = set(UNSAFE_FORMATS)
    for load_formats in (Pillow.preinit, Pillow.init):  # the few common ones first: all of them take 50 ms to import
        load_formats()
        for name in [name for name in Pillow.ID if name not in tried]:
            tried.add(name)
            factory, accept = Pillow.OPEN[name]
            try:
                verdict = accept is None or accept(prefix)
                if verdict and not isinstance(verdict, str):  # a string is a warning: known, but not supported here
                    stream.seek(0)
                    return factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue  # how Pillow's formats say "not one of mine"
    raise image_error(label, "an image", _describe(prefix), _ADVICE)


_SIGNATURES = {
    b"\xff\xd8": "a damaged JPEG file",
    b"\x89PNG": "a damaged PNG file",
    b"GIF8": "a damaged GIF file",
    b"BM": "a damaged BMP file",
    b"II*\0": "a damaged TIFF file, or one of a kind that Pillow cannot open",
    b"MM\0*": "a damaged TIFF file, or one of a kind that Pillow cannot open",
    b"%!PS": "a PostScript drawing",
    b"\xc5\xd0\xd3\xc6": "a PostScript drawing",
    b"%PDF": "a PDF document",
}


def _describe(prefix: bytes) -> str:
    for signature, what in _SIGNATURES.items():
        if prefix.startswith(signature):
            return what
    if prefix[4:8] == b"ftyp" and prefix[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "a HEIC photo, which the installed Pillow cannot open"
    # Not what it says: a service that passes messages on would hand out the first words of any file it can be sent to.
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in prefix):
        return "a text file"
    return "a file of no known image format"


def _checked_size(image: Pillow.Image, label: str, max_pixels: int) -> tuple[int, int]:
    width, height = image.size
    if width < 1 or height < 1:
        raise image_error(label, "at least 1×1 pixels", f"{width}×{height}", _ADVICE)
    if width * height > max_pixels:
        advice = "shrink it, or raise max_pixels or SAMOVAR_MAX_PIXELS if you trust it"
        raise image_error(label, f"at most {max_pixels:,} pixels", f"{width}×{height}", advice)
    return width, height


def _upright(image: Pillow.Image) -> Pillow.Image:
    """`image`, decoded and turned as its EXIF orientation says."""
    orientation = _orientation(image)  # asked first: for TIFF, decoding takes it away
    image.load()
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def _orientation(image: Pillow.Image) -> int:
    """EXIF orientation 1 to 8, as far as the header tells; 1 where there is none, or none that can be read."""
    if image.format == "TIFF":
        return 1  # Pillow applies it by itself, to the size too
    try:
        # The base class's method: the PNG one decodes the whole image to look behind it for a late EXIF chunk.
        value = Pillow.Image.getexif(image).get(Tag.Orientation, 1)
    except Exception:  # noqa: BLE001  # torn EXIF fails in a dozen ways, and is no reason to refuse the image
        return 1
    return value if isinstance(value, int) and value in _TRANSPOSE else 1


@contextmanager
def _one_line_errors(label: str) -> Iterator[None]:
    """Everything that Pillow may raise on a hostile file, as one ImageError; and none of its warnings."""
    with _quiet():
        try:
            yield
        except ImageError:
            raise
        except MemoryError as error:
            raise image_error(label, "an image that fits into memory", "one that does not", "shrink it") from error
        except (Pillow.DecompressionBombError, UnidentifiedImageError) as error:
            raise image_error(label, "an image", f"one that Pillow refuses ({one_line(error)})", _ADVICE) from error
        # Pillow's decoders raise OSError, ValueError, KeyError, zlib.error and more on damaged data, and say of none
        # of them that the list is complete.
        except Exception as error:
            raise image_error(
                label, "a whole image", f"a truncated or damaged one ({one_line(error)})", _ADVICE
            ) from error


_quiet_lock = threading.Lock()
_quiet_filters: list[Any] = []  # one entry for every thread in `_quiet`, all of them the one filter


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Pillow's warnings while any thread is in here.

    Not `warnings.catch_warnings`: it swaps the whole list of filters, and two threads that leave in the wrong order
    would swap in a stale one for good. Here the first thread in adds one filter and the last one out removes it.
    """
    with _quiet_lock:
        if not _quiet_filters:
            # The comment makes it unlike any filter that the application has set, which must stay.
            warnings.filterwarnings("ignore", module=r"PIL\.(?#samovar)")
            _quiet_filters.append(warnings.filters[0])
        else:
            _quiet_filters.append(_quiet_filters[0])
    try:
        yield
    finally:
        with _quiet_lock:
            ours = _quiet_filters.pop()
            if not _quiet_filters:
                with suppress(ValueError):  # somebody else's catch_warnings has put back an older list
                    cast("list[Any]", warnings.filters).remove(ours)
