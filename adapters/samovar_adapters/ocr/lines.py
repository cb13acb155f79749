"""Lines of text that an OCR engine found, as prompts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import InputError
from samovar.prompts import Prompt, Prompts
from samovar_adapters.ocr.centreline import centre_line

__all__ = ["TextLine", "to_prompts"]


@dataclass(frozen=True, eq=False)
class TextLine:
    """One piece of text in a picture: a line, a word or a character, whatever its engine found.

    Attributes:
        polygon: K×2 (x, y) pixels, around the text, clockwise or not; may leave the image.
        text: the string; "" where only its place is known.
        score: the engine's confidence in [0, 1].

    Raises:
        InputError: a polygon of fewer than three points or with a number that is not finite.
    """

    polygon: NDArray[np.float64]
    text: str = ""
    score: float = 1.0

    if TYPE_CHECKING:  # callers may pass anything array-like; the attribute is what validation made of it

        def __init__(self, polygon: ArrayLike, text: str = "", score: float = 1.0) -> None: ...

    def __post_init__(self) -> None:
        array = np.asarray(self.polygon, np.float64).reshape(-1, 2)
        if len(array) < 3 or not np.isfinite(array).all():
            raise InputError(f"a polygon must have three or more finite points (x, y); got {array.tolist()!r:.80}")
        object.__setattr__(self, "polygon", array)


def to_prompts(lines: Iterable[TextLine], width: int, height: int) -> Prompts:
    """One prompt per line: its box, points along its centre line, and its string as label ("" gives "text").

    Text is cut off at the edges of the `width`×`height` image; what lies outside altogether, or has no area there,
    gives no prompt. The order is that of the lines.
    """
    rows = []
    for line in lines:
        polygon = np.clip(line.polygon, 0, [width, height])
        (x1, y1), (x2, y2) = polygon.min(axis=0).astype(np.float32), polygon.max(axis=0).astype(np.float32)
        if _area(polygon) >= 1 and x1 < x2 and y1 < y2:
            rows.append(Prompt(points=centre_line(polygon), box=[x1, y1, x2, y2], label=line.text or "text"))
    return Prompts.of(rows)


def _area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
