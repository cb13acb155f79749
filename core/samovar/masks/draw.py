"""Images of masks: translucent fills, anti-aliased outlines, and numbered tags that never lie on each other."""

from __future__ import annotations

import os
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from samovar.errors import InputError, MaskError
from samovar.image import Image, ImageLike
from samovar.image.display import PREVIEW, preview
from samovar.image.display import to_png as png
from samovar.masks.masks import Masks

__all__ = [
    "Tag",
    "colours",
    "draw_masks",
    "draw_outline",
    "draw_overlay",
    "is_light",
    "measure",
    "place_tags",
    "save_drawing",
    "to_html",
    "to_png",
    "topmost",
]

_GOLDEN = 137.507764  # degrees: neighbours in the sequence are never close in hue, however long it gets
_FIRST = 25.0
_LIGHTNESS = (0.74, 0.82, 0.67)
_CHROMA = 0.17

# OKLab to linear sRGB, from B. Ottosson, "A perceptual color space for image processing" (2020).
_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@lru_cache(maxsize=8)
def colours(count: int) -> NDArray[np.uint8]:
    """`count`×3 uint8 RGB, vivid, neither dark nor pale. The first of them are the same for every count."""
    index = np.arange(count)
    hue = np.radians(_FIRST + _GOLDEN * index)
    lightness = np.array(_LIGHTNESS)[index % len(_LIGHTNESS)]
    lab = np.stack([lightness, _CHROMA * np.cos(hue), _CHROMA * np.sin(hue)], axis=1)
    linear = np.clip(((lab @ _TO_LMS.T) ** 3) @ _TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    palette: NDArray[np.uint8] = np.round(encoded * 255).astype(np.uint8)
    palette.setflags(write=False)
    return palette


def tint(colour: NDArray[np.uint8], white: float) -> NDArray[np.uint8]:
    """`colour` mixed with this share of white."""
    mixed: NDArray[np.uint8] = np.round(colour * (1 - white) + 255 * white).astype(np.uint8)
    return mixed


def is_light(colour: NDArray[np.uint8]) -> bool:
    """Whether black text reads better on it than white (relative luminance as in WCAG)."""
    linear = (colour / 255) ** 2.2
    return float(linear @ [0.2126, 0.7152, 0.0722]) > 0.18


def topmost(masks: Masks) -> NDArray[np.int32]:
    """H×W int32: i + 1 where mask i shows, the smallest over the larger; 0 for background."""
    page = np.zeros((masks.height, masks.width), np.int32)
    order = np.argsort(-masks.areas, kind="stable")
    for i, (crop, x, y) in zip(order.tolist(), masks[order].crops()):
        page[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = i + 1
    return page


_FILL = 0.42
_CASING = 0.8


def draw_fills(canvas: NDArray[np.uint8], shown: NDArray[np.int32], palette: NDArray[np.uint8]) -> None:
    """Tint `canvas` (H×W×3 uint8, changed) with the colour of the mask that shows at each pixel."""
    table = np.concatenate([np.zeros((1, 3), np.uint8), palette])
    tinted = cv2.addWeighted(canvas, 1 - _FILL, table[shown], _FILL, 0)
    np.copyto(canvas, tinted.astype(np.uint8, copy=False), where=(shown > 0)[..., None])


def draw_outline(
    canvas: NDArray[np.uint8], crop: NDArray[np.bool_], x: int, y: int, colour: NDArray[np.uint8], width: float
) -> None:
    """Draw along the inside of a mask's edge: a light line in a dark casing, so that one of them shows on anything.

    Drawn from the distance to the edge rather than from a polygon: smooth at any width, and a mask of one pixel still
    gets its dot.

    Args:
        canvas: H×W×3 uint8, changed.
        crop: h×w bool, the mask inside its box, whose top left pixel is at (x, y).
        width: of the light line, in pixels.
    """
    casing = max(0.9, 0.4 * width)
    pad = int(np.ceil(casing + 2))
    inside = np.pad(crop, pad).astype(np.uint8)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    without = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    signed = np.where(inside > 0, within - 0.5, 0.5 - without)
    # Smooths the staircase that every edge of pixels is, less so where there is no room for it.
    signed = cv2.GaussianBlur(signed, (0, 0), max(0.6, 0.35 * width))
    left, top = x - pad, y - pad
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + inside.shape[1], canvas.shape[1]), min(top + inside.shape[0], canvas.shape[0])
    signed = signed[y1 - top : y2 - top, x1 - left : x2 - left]
    away = np.abs(signed - width / 2) - width / 2  # from the light line's edge, negative on it
    part = canvas[y1:y2, x1:x2]
    rows, columns = np.nonzero(away < casing + 0.5)
    near = away[rows, columns]
    pixels = part[rows, columns].astype(np.float32)
    dark = np.clip(casing + 0.5 - near, 0, 1)[:, None] * _CASING
    light = np.clip(0.5 - near, 0, 1)[:, None]
    pixels = pixels * (1 - dark) + dark * (0.12 * colour)
    pixels = pixels * (1 - light) + light * tint(colour, 0.3)
    part[rows, columns] = np.round(pixels)


_SMALLEST = 9.0  # pixels of type; smaller is not readable
_LONGEST = 24  # characters of a label
_FINE = 4  # supersampling: Pillow draws rounded corners without anti-aliasing
_FEW = 12  # masks, up to which a label may stand beside its mask; with more, the number alone
_SMALL_SHARE = 0.04  # of a mask that a tag may hide in its middle
_GRID = 768  # longest side of the grid on which places are looked for


@dataclass(frozen=True)
class Tag:
    """A text and the centre (x, y) and size of its type, in pixels of the image."""

    mask: int
    text: str
    x: float
    y: float
    size: float


def place_tags(masks: Masks, shown: NDArray[np.int32], size: float, numbers: Sequence[int] | None = None) -> list[Tag]:
    """Where each mask's tag goes: inside what shows of the mask if it fits there, else beside it, never on another tag.

    A mask for whose tag there is no free place gets none. Small masks choose first: they have the least room.

    Args:
        shown: H×W int32, the mask that shows at each pixel, plus 1.
        size: of the type, in pixels; smaller where that makes a tag fit.
        numbers: of the masks; from 1 on if not given.
    """
    board = _Board(shown)
    sizes = [s for s in (size, 0.82 * size, 0.66 * size) if s >= _SMALLEST] or [max(size, _SMALLEST)]
    tags = []
    for i in np.argsort(masks.areas, kind="stable").tolist():
        if masks.areas[i] == 0:
            continue
        label = _readable(masks.labels[i] or "")
        number = str(i + 1 if numbers is None else numbers[i])
        texts = [f"{number}  {label}", number] if label else [number]
        box = masks.boxes[i]
        place = None
        for text in texts:
            for smaller in sizes:
                place = place or _tag(i, text, board.inside(i, box, *measure(text, smaller)), smaller)
        for text in texts if len(masks) <= _FEW else texts[-1:]:
            place = place or _tag(i, text, board.beside(box, *measure(text, sizes[-1])), sizes[-1])
        if place is not None:
            board.take(place.x, place.y, *measure(place.text, place.size))
            tags.append(place)
    return tags


def _tag(mask: int, text: str, centre: tuple[float, float] | None, size: float) -> Tag | None:
    return None if centre is None else Tag(mask, text, *centre, size)


class _Board:
    """The image at a coarser grid, with the places that are taken."""

    def __init__(self, shown: NDArray[np.int32]) -> None:
        height, width = shown.shape
        self.scale = min(1.0, _GRID / max(height, width))
        size = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        coarse = cv2.resize(shown.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
        self.shown: NDArray[np.int32] = coarse.astype(np.int32)
        self.free: NDArray[np.uint8] = np.ones(self.shown.shape, np.uint8)

    def inside(self, mask: int, box: NDArray[np.float32], width: float, height: float) -> tuple[float, float] | None:
        """A centre at which a `width`×`height` tag lies wholly in what shows of the mask, None if there is none.

        The roomiest place, or the topmost in a mask that the tag would hide much of.
        """
        x1, y1, x2, y2 = self._cells(box)
        room = self.shown[y1:y2, x1:x2] == mask + 1
        w, h = self._whole(width), self._whole(height)
        if room.shape[0] < h or room.shape[1] < w:
            return None
        fits = _erode(room & (self.free[y1:y2, x1:x2] > 0), w, h)
        if not fits.any():
            return None
        if w * h > _SMALL_SHARE * room.sum():  # in the middle it would hide what the mask is of, a face say
            rows, columns = np.nonzero(fits)
            top = columns[rows == rows[0]]
            row, column = int(rows[0]), int(top[np.argmin(np.abs(top - room.shape[1] / 2))])
        else:
            row, column = _roomiest(fits)
        return (x1 + column + 0.5) / self.scale, (y1 + row + 0.5) / self.scale

    def beside(self, box: NDArray[np.float32], width: float, height: float) -> tuple[float, float] | None:
        """A centre above, below, right or left of the box where the tag lies in the image and on no other tag."""
        x1, y1, x2, y2 = box.tolist()
        gap = 0.2 * height
        left, middle, right = x1 - gap - width / 2, (x1 + x2) / 2, x2 + gap + width / 2
        above, level, below = y1 - gap - height / 2, (y1 + y2) / 2, y2 + gap + height / 2
        sides = (middle, above), (middle, below), (right, level), (left, level)
        for x, y in (*sides, (right, above), (left, above), (right, below), (left, below)):
            if self._is_free(x, y, width, height):
                return x, y
        return None

    def take(self, x: float, y: float, width: float, height: float) -> None:
        """Let no other tag come here."""
        x1, y1, x2, y2 = self._around(x, y, width, height)
        self.free[max(y1, 0) : y2, max(x1, 0) : x2] = 0

    def _is_free(self, x: float, y: float, width: float, height: float) -> bool:
        x1, y1, x2, y2 = self._around(x, y, width, height)
        rows, columns = self.free.shape
        return x1 >= 0 and y1 >= 0 and x2 <= columns and y2 <= rows and bool(self.free[y1:y2, x1:x2].all())

    def _around(self, x: float, y: float, width: float, height: float) -> tuple[int, int, int, int]:
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * self.scale
        x1, y1, x2, y2 = np.concatenate([np.floor(box[:2]), np.ceil(box[2:])]).astype(int).tolist()
        return x1, y1, x2, y2

    def _cells(self, box: NDArray[np.float32]) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = (box * self.scale).tolist()
        return int(x1), int(y1), int(np.ceil(x2)), int(np.ceil(y2))

    def _whole(self, length: float) -> int:
        return max(1, int(np.ceil(length * self.scale)) | 1)  # odd, so that the centre is a cell


def _roomiest(fits: NDArray[np.uint8]) -> tuple[int, int]:
    """Row and column in the middle of the roomiest places, not the first of them; of several parts, in the nearest."""
    depth = cv2.distanceTransform(np.pad(fits, 1), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    best = np.argwhere(depth >= 0.97 * depth.max())
    nearest = int(np.argmin(((best - best.mean(axis=0)) ** 2).sum(axis=1)))
    return int(best[nearest, 0]), int(best[nearest, 1])


def _erode(room: NDArray[np.bool_], width: int, height: int) -> NDArray[np.uint8]:
    kernel = np.ones((height, width), np.uint8)
    eroded = cv2.erode(room.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded, np.uint8)


def draw_tag(canvas: NDArray[np.uint8], tag: Tag, colour: NDArray[np.uint8]) -> None:
    """Draw a tag: the mask's colour with a dark rim, the text black or white, whichever reads better."""
    width, height = measure(tag.text, tag.size)
    w, h = max(1, round(width)), max(1, round(height))
    fine = Pillow.new("L", (w * _FINE, h * _FINE), 0)
    rim = Pillow.new("L", fine.size, 0)
    corner = 0.32 * h * _FINE
    edge = max(1.0, 0.07 * h) * _FINE
    frame = (fine.width - 1, fine.height - 1)
    ImageDraw.Draw(rim).rounded_rectangle((0, 0, *frame), corner, fill=255)
    ImageDraw.Draw(fine).rounded_rectangle((edge, edge, frame[0] - edge, frame[1] - edge), corner - edge, fill=255)
    text = Pillow.new("L", fine.size, 0)
    ImageDraw.Draw(text).text(
        (fine.width / 2, fine.height / 2),
        tag.text,
        255,
        _font(tag.size * _FINE),
        anchor="mm",
        stroke_width=round(0.02 * tag.size * _FINE),  # the font has no bold
    )
    ink = np.array([16, 16, 16], np.uint8) if is_light(colour) else np.array([255, 255, 255], np.uint8)
    x, y = round(tag.x - w / 2), round(tag.y - h / 2)
    x, y = min(max(x, 0), max(canvas.shape[1] - w, 0)), min(max(y, 0), max(canvas.shape[0] - h, 0))
    part = canvas[y : y + h, x : x + w]
    for layer, paint, strength in ((rim, tint(colour, 0) // 6, 0.9), (fine, colour, 0.95), (text, ink, 1.0)):
        cover = np.asarray(layer.resize((w, h), Pillow.Resampling.BOX), np.float32)[
            : part.shape[0], : part.shape[1], None
        ]
        cover = cover * (strength / 255)
        part[:] = np.round(part * (1 - cover) + paint * cover)


def measure(text: str, size: float) -> tuple[float, float]:
    """Width and height of a tag with this text, in pixels."""
    length = _font(64).getlength(text) * size / 64
    height = 1.42 * size
    return max(length + 0.72 * size, height), height


@lru_cache(maxsize=64)
def _font(size: float) -> Any:
    return ImageFont.load_default(size)


def _readable(label: str) -> str:
    """The label in the letters of the font that comes with Pillow, which are ASCII, cut to fit an image.

    Accents that it lacks are dropped; a label with letters that it lacks altogether is "".
    """
    line = "".join(letter if _has_glyph(letter) else _bare(letter) for letter in " ".join(label.split()))
    if not all(_has_glyph(letter) for letter in line):
        return ""
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def _bare(letter: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))


@lru_cache(maxsize=1024)
def _has_glyph(letter: str) -> bool:
    absent = _font(32).getmask("\U0010ffff")
    drawn = _font(32).getmask(letter)
    return letter == " " or (drawn.size, bytes(drawn)) != (absent.size, bytes(absent))


def draw_overlay(
    image: Image, masks: Masks, *, tags: bool = True, numbers: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """The image with every mask tinted, outlined and numbered from 1 in the order of `masks`, with its label if any.

    Lines and type grow with the image and get finer with many masks. Where masks overlap the smallest shows.

    Args:
        image: what the masks are of.
        masks: of the image's size.
        tags: whether to number them.
        numbers: of the masks, such as their ids in a video; from 1 on if not given.

    Returns:
        H×W×3 uint8, RGB, of the image's size.

    Raises:
        MaskError: the masks are of another size.
        ImageError: the image cannot be read.
    """
    canvas = np.array(image.pixels)
    if (masks.width, masks.height) != (canvas.shape[1], canvas.shape[0]):
        raise MaskError(
            f"{image.name}: the masks are {masks.width}×{masks.height} but the image is "
            f"{canvas.shape[1]}×{canvas.shape[0]}; resize the masks first"
        )
    span = float(np.sqrt(canvas.shape[0] * canvas.shape[1]))
    crowd = float(np.clip((12 / max(len(masks), 1)) ** 0.25, 0.6, 1))
    palette = colours(len(masks))
    shown = topmost(masks)
    draw_fills(canvas, shown, palette)
    order = np.argsort(-masks.areas, kind="stable")
    for i, (crop, x, y) in zip(order.tolist(), masks[order].crops()):
        if crop.size:
            draw_outline(canvas, crop, x, y, palette[i], max(1.2, crowd * span / 260))
    if tags:
        for tag in place_tags(masks, shown, max(10.0, crowd * span / 30), numbers):
            draw_tag(canvas, tag, palette[tag.mask])
    return canvas


_GROUND = 24  # grey on which masks are drawn without an image
_LISTED = 30  # rows of a notebook's table
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def draw_masks(masks: Masks, image: ImageLike | None, *, tags: bool = True) -> NDArray[np.uint8]:
    """As `draw_overlay`, on whatever `Image` can be made of, or on a dark ground."""
    if image is None:
        image = np.full((masks.height, masks.width, 3), _GROUND, np.uint8)
    return draw_overlay(Image(image), masks, tags=tags)


def save_drawing(path: str | os.PathLike[str], draw: Callable[[], NDArray[np.uint8]]) -> None:
    """Write what `draw` draws, in the format that the suffix says. See `Masks.save`."""
    file = Path(path)
    if file.suffix.lower() not in _SUFFIXES:
        raise MaskError(
            f"{file}: masks are drawn to {', '.join(_SUFFIXES)}; got {file.suffix or 'no suffix'!r}; "
            "for annotation files use a sink, see `samovar plugins`"
        )
    Pillow.fromarray(draw()).save(file)


def to_png(masks: Masks, image: Image | None) -> bytes:
    """The masks as a notebook shows them, as a PNG file: small, and without the image if that cannot be read now."""
    scale = min(1.0, PREVIEW / max(masks.width, masks.height))
    small = masks.resize(max(1, round(masks.width * scale)), max(1, round(masks.height * scale)))
    try:
        return png(draw_masks(small, None if image is None else preview(image.pixels)))
    except InputError:  # moved, changed, or given to masks of another size: a look at them is no place to fail
        return png(draw_masks(small, None))


def to_html(masks: Masks, drawn: bytes) -> str:
    """The masks as a notebook shows them: `drawn`, a PNG file, and a table of what is known of each."""
    rows = []
    for i, box in enumerate(masks.boxes[:_LISTED].tolist()):
        cells = str(i + 1), escape(masks.labels[i] or ""), f"{masks.scores[i]:.3f}", f"{masks.areas[i]:,}"
        rows.append("".join(f"<td>{cell}</td>" for cell in (*cells, " ".join(f"{edge:g}" for edge in box))))
    if len(masks) > _LISTED:
        rows.append(f"<td>…</td><td colspan=4>and {len(masks) - _LISTED} more</td>")
    head = "".join(f"<th>{name}</th>" for name in ("", "label", "score", "area", "box x1 y1 x2 y2"))
    table = f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
    return f"<img src='data:image/png;base64,{b64encode(drawn).decode()}'><p>{escape(repr(masks))}</p>{table}"
