"""A folder of pictures as they come in real life: most are fine, some in unusual ways, some are no pictures at all.

Everything is generated from a seed, so the folder is the same every time it is made.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

__all__ = ["BAD", "UNUSUAL", "HostileFolder", "encoded", "photo", "write_hostile_folder"]

EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class HostileFolder:
    """What `write_hostile_folder` wrote.

    Attributes:
        folder: where.
        good: file name → (width, height) as a viewer shows it.
        bad: file name → what is wrong with it, a key of `BAD`.
        ignored: files that a search for images passes over: a text file, a hidden file.
    """

    folder: Path
    good: dict[str, tuple[int, int]]
    bad: dict[str, str]
    ignored: tuple[str, ...]


def photo(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """height×width×3 uint8: a few textured discs and boxes before a lit, grainy background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = 0.75 + 0.25 * np.cos(np.pi * (x / width - rng.random()))
    picture = light[:, :, None] * rng.uniform(60, 200, 3)
    for _ in range(4):
        cx, cy = rng.uniform(0.15, 0.85, 2) * (width, height)
        rx, ry = rng.uniform(0.08, 0.25, 2) * (width, height)
        if rng.random() < 0.5:
            inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        else:
            inside = (abs(x - cx) < rx) & (abs(y - cy) < ry)
        stripes = 1 + 0.15 * np.sin((x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) * 0.8)
        picture[inside] = (stripes[:, :, None] * rng.uniform(20, 255, 3))[inside]
    picture += rng.normal(0, 4, picture.shape)
    pixels: NDArray[np.uint8] = picture.clip(0, 255).astype(np.uint8)
    return pixels


def encoded(image: Pillow.Image, format: str, **options: object) -> bytes:
    """`image` as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return encoded(Pillow.fromarray(pixels), "JPEG", quality=90)


def _rotated(pixels: NDArray[np.uint8]) -> bytes:
    exif = Pillow.Exif()
    exif[EXIF_ORIENTATION] = 6
    return encoded(Pillow.fromarray(np.ascontiguousarray(np.rot90(pixels))), "JPEG", quality=90, exif=exif)


def _deep(pixels: NDArray[np.uint8]) -> bytes:
    return encoded(Pillow.fromarray(pixels[:, :, 1].astype(np.uint16) * 257), "PNG")


def _animated(pixels: NDArray[np.uint8]) -> bytes:
    frames = [Pillow.fromarray(np.roll(pixels, 3 * step, axis=1)) for step in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _transparent(pixels: NDArray[np.uint8]) -> bytes:
    alpha = np.full((*pixels.shape[:2], 1), 200, np.uint8)
    return encoded(Pillow.fromarray(np.concatenate([pixels, alpha], axis=2)), "PNG")


UNUSUAL: dict[str, tuple[str, Callable[[NDArray[np.uint8]], bytes]]] = {
    "cmyk": ("jpg", lambda pixels: encoded(Pillow.fromarray(pixels).convert("CMYK"), "JPEG")),
    "sixteen-bit": ("png", _deep),
    "rotated": ("jpg", _rotated),
    "palette": ("png", lambda pixels: encoded(Pillow.fromarray(pixels).quantize(32), "PNG")),
    "animated": ("gif", _animated),
    "transparent": ("png", _transparent),
    "grey": ("jpg", lambda pixels: encoded(Pillow.fromarray(pixels).convert("L"), "JPEG")),
    "upper-case": ("JPG", _jpeg),
    "wrong-suffix": ("png", _jpeg),  # every viewer shows it, for what counts is what is inside
}
"""Good pictures that careless readers stumble over: name → (suffix, how to encode the pixels)."""


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims `width`×`height` and holds one byte of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def _corrupt_png(pixels: NDArray[np.uint8]) -> bytes:
    data = bytearray(encoded(Pillow.fromarray(pixels), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xA5 for byte in data[middle : middle + 64])
    return bytes(data)


def _truncated(pixels: NDArray[np.uint8]) -> bytes:
    data = _jpeg(pixels)
    return data[: len(data) // 2]


BAD: dict[str, tuple[str, Callable[[NDArray[np.uint8]], bytes]]] = {
    "truncated": ("jpg", _truncated),
    "corrupt": ("png", _corrupt_png),
    "empty": ("jpg", lambda pixels: b""),
    "huge": ("png", lambda pixels: png_header(60_000, 60_000)),
    "text": ("jpg", lambda pixels: b"This was never a photo.\n" * 20),
    "noise": ("png", lambda pixels: np.random.default_rng(int(pixels.sum())).bytes(4000)),
    "zeros": ("jpg", lambda pixels: bytes(4000)),
    "headless": ("jpg", lambda pixels: _jpeg(pixels)[64:]),
    "cut-header": ("jpg", lambda pixels: _jpeg(pixels)[:20]),
}
"""Files with an image's suffix that are no readable image: what is wrong → (suffix, how to make it)."""


def write_hostile_folder(
    folder: Path, *, good: int = 20, bad: int = len(BAD), size: tuple[int, int] = (96, 64), seed: int = 0
) -> HostileFolder:
    """Fill `folder` with `good` readable images (each kind of `UNUSUAL` once, the rest JPEG) and `bad` unreadable ones.

    Args:
        size: (width, height) of every readable image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size
    readable: dict[str, tuple[int, int]] = {}
    unreadable: dict[str, str] = {}
    unusual = list(UNUSUAL.items())
    for number in range(good):
        kind, (suffix, encode) = unusual[number] if number < min(len(unusual), good) else ("photo", ("jpg", _jpeg))
        name = f"{number:04d}-{kind}.{suffix}"
        (folder / name).write_bytes(encode(photo(width, height, seed + number)))
        readable[name] = size
    wrong = list(BAD.items())
    for number in range(bad):
        kind, (suffix, make) = wrong[number % len(wrong)]
        # Named so that they lie between the good ones, not after them.
        name = f"{number * max(good, 1) // max(bad, 1):04d}-bad-{kind}-{number}.{suffix}"
        (folder / name).write_bytes(make(photo(width, height, seed + number)))
        unreadable[name] = kind
    (folder / "notes.txt").write_text("Taken in the garden.\n", encoding="utf-8")
    (folder / ".hidden.jpg").write_bytes(b"")
    return HostileFolder(folder, readable, unreadable, ("notes.txt", ".hidden.jpg"))
