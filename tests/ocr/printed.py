"""Known words printed on photographs, and the pixels that their ink covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from samovar import Image

__all__ = ["WORDS", "Line", "Printed", "print_on"]


class Line(NamedTuple):
    """A line of text: its string, letter size in pixels, top left corner, and colours of letters and of outlines."""

    text: str
    size: int
    at: tuple[int, int]
    fill: str
    outline: str | None


class Printed(NamedTuple):
    """A photograph with words on it, and H×W bool: what they cover, outlines included."""

    image: Image
    ink: NDArray[np.bool_]


WORDS = (
    Line("HELLO WORLD", 42, (40, 40), "white", "black"),
    Line("Samovar 2026", 34, (60, 150), "yellow", "black"),
    Line("Fresh Tea", 52, (90, 230), "black", "white"),
)


def print_on(photo: Image, lines: Sequence[Line] = WORDS) -> Printed:
    """`photo` with `lines` on it."""
    picture = Pillow.fromarray(photo.pixels)
    ink = Pillow.new("L", picture.size)
    for canvas, inked in ((picture, False), (ink, True)):
        draw = ImageDraw.Draw(canvas)
        for line in lines:
            stroke = 2 if line.outline else 0
            draw.text(
                line.at,
                line.text,
                font=ImageFont.load_default(line.size),
                fill="white" if inked else line.fill,
                stroke_width=stroke,
                stroke_fill="white" if inked else line.outline,
            )
    return Printed(Image(np.array(picture), name=f"printed on {photo.name}"), np.array(ink) > 127)
