"""Text in images, whoever found it: its lines as prompts, and the mask under which it disappears."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import InputError, PromptError, UnknownNameError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts

__all__ = ["LEVELS", "TextLine", "TextSource", "centre_line", "level_of", "text_mask", "to_prompts"]

LEVELS = ("lines", "words", "characters")
"""How finely text is cut."""

_MOST = 5  # more points than this only repeat what the box already says


@dataclass(frozen=True, eq=False)
class TextLine:
    """One piece of text in an image: a line, a word or a character, whatever its engine found.

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
        polygon = np.clip(_uncrossed(line.polygon), 0, [width, height])
        (x1, y1), (x2, y2) = polygon.min(axis=0).astype(np.float32), polygon.max(axis=0).astype(np.float32)
        if _area(polygon) >= 1 and x1 < x2 and y1 < y2:
            rows.append(Prompt(points=centre_line(polygon), box=[x1, y1, x2, y2], label=line.text or "text"))
    return Prompts.of(rows)


class TextSource(ABC):
    """A prompt source that is an OCR engine: one prompt per piece of text.

    Attributes:
        name: what messages call it.
    """

    name: str

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """The text of each image, by `to_prompts`. Raises as `lines`."""
        if requests is not None:
            raise PromptError(f"{self.name} answers no requests; convert prompts with another source")
        return [to_prompts(self.lines(image), image.width, image.height) for image in images]

    @abstractmethod
    def lines(self, image: Image) -> list[TextLine]:
        """What it finds and reads on one image, with polygons and scores. Raises ImageError."""


def level_of(argument: str | None, source: str, levels: Sequence[str] = LEVELS) -> str:
    """Which of `levels` the argument of `source` names; lines by default. Raises UnknownNameError."""
    if argument and argument not in levels:
        raise UnknownNameError.among("level", argument, levels, f"write it as in {source}=words")
    return argument or "lines"


def text_mask(masks: Masks, *, dilate: int = 3) -> Masks:
    """One mask to repaint: the union of `masks`, grown by `dilate` pixels in every direction.

    Letters have soft edges and shadows that a tight mask leaves behind; three pixels cover those of ordinary photos.
    Without masks it is empty.

    Raises:
        InputError: a negative `dilate`.
    """
    if dilate < 0:
        raise InputError(f"dilate must be a number of pixels, 0 or more; got {dilate}")
    union = masks.union()
    if not dilate or not union.areas[0]:
        return union
    crop, x, y = next(union.crops())
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * dilate + 1, 2 * dilate + 1))
    grown = cv2.dilate(np.pad(crop.astype(np.uint8), dilate), disc)
    left, top = max(dilate - x, 0), max(dilate - y, 0)  # what would leave the image
    grown = grown[top : top + masks.height - max(y - dilate, 0), left : left + masks.width - max(x - dilate, 0)]
    origin = [[max(x - dilate, 0), max(y - dilate, 0)]]
    return Masks.from_crops([grown], origin, masks.width, masks.height).replace(scores=union.scores)


def centre_line(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points inside `polygon`, spread evenly along its length and halfway across it.

    About one for every square that fits into the band, at least one and at most five. Where the band bends so far that
    it is crossed more than once, the point lies in the broadest crossing.

    Args:
        polygon: K×2 (x, y), K ≥ 3, not all on one line.

    Returns:
        P×2 (x, y), in order along the longer axis; all of them strictly inside.
    """
    middle = polygon.mean(axis=0)
    axes = np.linalg.svd(polygon - middle, full_matrices=False)[2]  # rows: along the text, across it
    if axes[0][np.abs(axes[0]).argmax()] < 0:
        axes = -axes
    local = (polygon - middle) @ axes.T
    low, high = local[:, 0].min(), local[:, 0].max()
    count = int(np.clip(round((high - low) ** 2 / max(_area(local), 1e-9)), 1, _MOST))
    stations = low + (np.arange(count) + 0.5) / count * (high - low)
    along: NDArray[np.float64] = np.array([(u, _middle_of_broadest(local, u)) for u in stations])
    points: NDArray[np.float64] = along @ axes + middle
    return points


def _middle_of_broadest(local: NDArray[np.float64], u: float) -> float:
    """Halfway through the broadest stretch that is inside the polygon on the line across it at `u`."""
    start, stop = local, np.roll(local, -1, axis=0)
    crossed = (start[:, 0] <= u) != (stop[:, 0] <= u)
    start, stop = start[crossed], stop[crossed]
    part = (u - start[:, 0]) / (stop[:, 0] - start[:, 0])
    v = np.sort(start[:, 1] + part * (stop[:, 1] - start[:, 1])).reshape(-1, 2)
    return float(v[(v[:, 1] - v[:, 0]).argmax()].mean())


def _uncrossed(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four corners around what they enclose, in whatever order they came; more of them as they are."""
    if len(polygon) != 4:
        return polygon
    hull = cv2.convexHull(polygon.astype(np.float32)).reshape(-1, 2).astype(np.float64)
    return hull if _area(polygon) < 0.9 * _area(hull) else polygon


def _area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
