"""Words in an image, gone or replaced."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from samovar.deprecation import renamed_keywords
from samovar.errors import InputError
from samovar.image import Image
from samovar.inpainting import Inpainter
from samovar.masks import Masks
from samovar_adapters.inpaint.repainting import MaskMargins, open_inpainter, repaint

if TYPE_CHECKING:
    from samovar.image import ImageLike
    from samovar.protocols import PromptSource

__all__ = ["edit_text", "font_for", "text_masks"]

_SOFT = 0.3  # of the way from surroundings to letters: soft edges of letters belong to them
_LARGE = 128  # pixels: words are drawn large, then scaled down
_COMMON = "DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Arial Unicode.ttf"
_FEWEST, _MOST = 0.03, 0.7  # of a box that letters cover


def text_masks(image: Image, source: PromptSource, find: str | None = None) -> Masks:
    """The text that an OCR source finds: the letters of each piece, labelled with its string.

    Letters are what stands out from the median of their surroundings. Where that cannot be letters, the piece's whole
    box is its mask.

    Args:
        find: only text that contains these words, upper or lower case.
    """
    prompts = source.prompts([image])[0]
    crops, origins, labels = [], [], []
    for prompt in prompts:
        if prompt.box is None or (find is not None and find.casefold() not in (prompt.label or "").casefold()):
            continue
        limits = [image.width, image.height] * 2
        x1, y1, x2, y2 = (int(v) for v in np.clip([*np.floor(prompt.box[:2]), *np.ceil(prompt.box[2:])], 0, limits))
        if x1 < x2 and y1 < y2:
            crops.append(_letters(image.pixels[y1:y2, x1:x2]))
            origins.append((x1, y1))
            labels.append(prompt.label)
    if not crops:
        return Masks.empty(image.width, image.height)
    return Masks.from_crops(crops, origins, image.width, image.height).replace(labels=labels)


def _letters(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The letters in a piece of text's box, h×w×3 uint8: h×w bool."""
    height = pixels.shape[0]
    # As wide as the text is high: letters cover less than half of that, so that its median is what is behind them.
    side = min(255, max(3, height | 1))
    behind = cv2.medianBlur(np.ascontiguousarray(pixels), side)
    contrast = cv2.absdiff(pixels, behind).max(axis=2)
    level, _ = cv2.threshold(contrast, 0, 255, cv2.THRESH_OTSU)
    if not (contrast > level).any():
        return np.ones(contrast.shape, np.bool_)
    low, high = float(contrast[contrast <= level].mean()), float(contrast[contrast > level].mean())
    found = contrast > low + _SOFT * (high - low)
    # Bold letters can be the median themselves; then it is the rim of the box that stands out.
    rim = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    plausible = _FEWEST < found.mean() < _MOST and rim.mean() < 0.5
    return found if plausible else np.ones_like(found)


@renamed_keywords(painter="inpainter", edges="margins")
def edit_text(
    image: ImageLike,
    masks: Masks,
    replacement: str | None = None,
    inpainter: Inpainter | None = None,
    margins: MaskMargins | None = None,
    font: str | os.PathLike[str] | None = None,
) -> NDArray[np.uint8]:
    """The image without the text that `masks` mark, or with other words in its place: H×W×3 uint8 RGB.

    Args:
        masks: one a piece of text, as `text_masks` gives.
        replacement: words to set in every piece's box, level, in the colour that its letters had; none to leave the
            place empty. With a diffusion model, have its prompt say the words instead.
        inpainter: what fills the place; patches of the surroundings if not given.
        margins: by default grown by 3 pixels for soft edges and shadows of letters.
        font: a typeface's file for the replacement; without one Pillow's own, or one of the system's that has it all.

    Raises:
        InputError: no typeface that has all letters of the replacement.
    """
    image = Image(image)
    typeface = font_for(replacement, font) if replacement else None
    margins = margins or MaskMargins(dilate=3, feather=1)
    result = repaint(image.pixels, masks, inpainter or open_inpainter(), margins)
    if replacement and typeface is not None:
        for box in masks.boxes.astype(int).tolist():
            _write(result, replacement, typeface, box, _ink(image.pixels, result, box))
    return result


def _ink(before: NDArray[np.uint8], after: NDArray[np.uint8], box: list[int]) -> tuple[int, int, int]:
    """The colour that letters had: what differs most from the place without them."""
    x1, y1, x2, y2 = box
    old, new = before[y1:y2, x1:x2].reshape(-1, 3), after[y1:y2, x1:x2].reshape(-1, 3)
    change = np.abs(old.astype(np.int16) - new).sum(axis=1)
    letters = old[change >= np.percentile(change, 85)]
    red, green, blue = (int(value) for value in np.median(letters, axis=0))
    return red, green, blue


def font_for(words: str, font: str | os.PathLike[str] | None = None) -> ImageFont.FreeTypeFont:
    """A typeface that has all letters of `words`: `font`, or the first of Pillow's own and common ones of systems.

    Raises:
        InputError: a file that is no typeface, or letters that none has: a box would stand in their place.
    """
    if font is not None:
        try:
            found = ImageFont.truetype(os.fspath(font), _LARGE)
        except (OSError, ValueError) as error:
            raise InputError(f"{os.fspath(font)}: expected a typeface, a .ttf or .otf file; {error}") from error
        lacking, named = _lacking(found, words), os.fspath(font)
    else:
        own = ImageFont.load_default(_LARGE)
        if not isinstance(own, ImageFont.FreeTypeFont):
            raise InputError("setting words needs a Pillow with FreeType; install one from PyPI, or leave them out")
        found, lacking, named = own, _lacking(own, words), "Pillow's typeface"
        for name in _COMMON if lacking else ():
            with suppress(OSError):
                other = ImageFont.truetype(name, _LARGE)
                if not _lacking(other, words):
                    return other
    if lacking:
        raise InputError(f"{named} has no {' '.join(lacking)}; name the file of one that has with --font (font=…)")
    return found


def _lacking(font: ImageFont.FreeTypeFont, words: str) -> list[str]:
    """Letters that the typeface would draw as it draws U+FFFF, which is no letter: by its box for what it lacks."""
    box = bytes(font.getmask("\uffff"))
    return [letter for letter in dict.fromkeys(words) if not letter.isspace() and bytes(font.getmask(letter)) == box]


def _write(
    pixels: NDArray[np.uint8],
    words: str,
    font: ImageFont.FreeTypeFont,
    box: list[int],
    colour: tuple[int, int, int],
) -> None:
    """Draw `words` as large as fits into `box`, in place: drawn large, then scaled down."""
    x1, y1, x2, y2 = box
    left, top, right, bottom = font.getbbox(words)
    sheet = Pillow.new("L", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(sheet).text((-left, -top), words, fill=255, font=font)
    scale = min((x2 - x1) / sheet.width, (y2 - y1) / sheet.height)
    width, height = max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale))
    alpha = cv2.resize(np.asarray(sheet), (width, height), interpolation=cv2.INTER_AREA)[..., None] / 255.0
    x, y = x1 + (x2 - x1 - width) // 2, y1 + (y2 - y1 - height) // 2
    place = pixels[y : y + height, x : x + width]
    place[:] = np.rint(alpha * np.array(colour) + (1 - alpha) * place).astype(np.uint8)
