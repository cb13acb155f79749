"""`Target`: one followed object, what it has looked like, and the rule by which it is occluded and found again.

The rule. An object is *hidden* when less than 15 % of its reference area is left, or when what is left does not look
like it any more. It keeps its id, has an empty mask, and learns nothing. In every frame it is then looked for by its
appearance alone, over the whole image: it is *seen again* where a connected place of 30 % to 300 % of its reference
area looks like it and unlike everything else that has been seen, is no other object's, and the segmenter's mask there
looks like it too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.types import ObjectId
from samovar_plugins.propagate.probability import Field
from samovar_plugins.propagate.view import CELL, View, to_grid

__all__ = ["LEARN_EVERY", "Appearance", "Examples", "Target"]

LEARN_EVERY = 4  # frames
_REACH = 0.35  # of its size: how far beyond the expected place an object may be
_LEFT = 0.15  # of the reference area, below which it is hidden
_LIKE = 0.0  # mean log odds of its appearance, below which it is hidden or not the same
_AGAIN = 0.8  # the same, to be seen again
_SMALLEST, _LARGEST = 0.3, 3.0  # of the reference area, to be seen again
_COARSE = 2  # only every so many cells, across and down, are looked at when it may be anywhere
_STEADY = 0.6, 1.6  # of the reference area, in which it is learned from
_EXAMPLES = 500  # of the object, as many of its surroundings and of the rest, kept a frame
_RECENT = 4  # frames kept besides the first
_SOFTNESS = 0.25  # difference of distances that makes one unit of log odds
_MOST = 4.0  # log odds
_NEARNESS = 1.0  # how much a shift by the object's own size weighs, in units of the descriptors
_ROWS, _COLUMNS = 64, 256  # of a block of distances
_SURE = 0.15  # a cell this little or 1 − this much covered is an example


@dataclass(frozen=True)
class Place:
    """Where an object is on the grid: its centre (x, y) and size (square root of its area), in cells."""

    x: float
    y: float
    size: float

    @classmethod
    def of(cls, cover: NDArray[np.float32]) -> Place | None:
        """Of a g×f field in 0…1; None where nothing is above one half."""
        rows, columns = np.nonzero(cover > 0.5)
        if not len(rows):
            return None
        return cls(float(columns.mean()) + 0.5, float(rows.mean()) + 0.5, float(np.sqrt(len(rows))))

    def surroundings(self, cover: NDArray[np.float32], reach: float) -> NDArray[np.bool_]:
        """g×f bool: the object and what lies within `reach` times its size of it."""
        radius = max(3, int(reach * self.size))
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        return cv2.dilate((cover > 0.3).astype(np.uint8), disk) > 0


class Examples(NamedTuple):
    """Cells of one frame: 13 numbers that describe each, then its place relative to the object.

    Attributes:
        ours, theirs: n×15 and m×15 float32, of the object and of its surroundings.
        elsewhere: k×15 float32, of all of the frame but the object.
    """

    ours: NDArray[np.float32]
    theirs: NDArray[np.float32]
    elsewhere: NDArray[np.float32]


@dataclass
class Appearance:
    """Examples from the first frame, which are never forgotten, and from a few recent ones."""

    frames: list[Examples] = field(default_factory=list)

    def learn(
        self, cells: NDArray[np.float32], cover: NDArray[np.float32], place: Place, *, anew: bool = False
    ) -> None:
        """Keep examples of a frame in which `cover`, g×f float32, says how much of each cell the object fills.

        Args:
            anew: the cover is known to be true: it replaces everything learned before.
        """
        rows = _rows(cells, place)
        near = place.surroundings(cover, 0.7)
        inside = cover > 1 - _SURE
        inside = inside if inside.any() else cover >= cover.max()
        around = near & (cover < _SURE)
        around = around if around.any() else cover < 0.5
        apart = cover < _SURE
        seen = Examples(_some(rows[inside]), _some(rows[around]), _some(rows[apart if apart.any() else around]))
        self.frames = [seen] if anew or not self.frames else [self.frames[0], *self.frames[1:][1 - _RECENT :], seen]

    def odds(self, cells: NDArray[np.float32], where: NDArray[np.bool_], place: Place | None) -> NDArray[np.float32]:
        """g×f float32 log odds of the object against what is not it, the least possible outside `where`.

        Args:
            place: where the object is expected, to tell it from its surroundings there; None to go by appearance alone,
                wherever it may be, and to tell it from everything else that has been seen.
        """
        odds = np.full(where.shape, -_MOST, np.float32)
        if not where.any():
            return odds
        if place is None:
            asked, width = cells[where], cells.shape[2]
            others = [part[:, :width] for seen in self.frames for part in (seen.theirs, seen.elsewhere)]
        else:
            asked, width = _rows(cells, place)[where], None
            others = [seen.theirs for seen in self.frames]
        ours = _nearest(asked, np.concatenate([seen.ours[:, :width] for seen in self.frames]))
        theirs = _nearest(asked, np.concatenate(others))
        odds[where] = np.clip((theirs - ours) / _SOFTNESS, -_MOST, _MOST)
        return odds


def _rows(cells: NDArray[np.float32], place: Place) -> NDArray[np.float32]:
    rows, columns = np.mgrid[: cells.shape[0], : cells.shape[1]].astype(np.float32)
    x, y = (columns + 0.5 - place.x) / place.size, (rows + 0.5 - place.y) / place.size
    return np.concatenate([cells, _NEARNESS * np.stack([x, y], axis=2)], axis=2).astype(np.float32)


def _some(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most `_EXAMPLES` of the rows, evenly."""
    if len(rows) <= _EXAMPLES:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _EXAMPLES).astype(np.int64)]


def _nearest(asked: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of every row of `asked` to the nearest of `known`."""
    if not len(known):
        return np.full(len(asked), np.inf, np.float32)
    lengths = (known * known).sum(axis=1)
    squares = np.full(len(asked), np.inf, np.float32)
    # In blocks that share one table, which a processor's cache holds: fresh pages for each cost more than all of the
    # arithmetic, and products as small as these BLAS leaves on one thread, whose meeting costs more again.
    table = np.empty((_ROWS, _COLUMNS), np.float32)
    for row in range(0, len(asked), _ROWS):
        part, least = 2 * asked[row : row + _ROWS], squares[row : row + _ROWS]
        for column in range(0, len(known), _COLUMNS):
            some = slice(column, column + _COLUMNS)
            found = np.matmul(part, known[some].T, out=table[: len(part), : len(known[some])])
            np.minimum(least, np.subtract(lengths[some], found, out=found).min(axis=1), out=least)
    squares += (asked * asked).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)


@dataclass
class Target:
    """One object.

    Attributes:
        probability: h×w float32 on the small frame, how likely each pixel was the object in the latest frame; zeros
            while hidden.
        reference_area: in pixels of the small frame, averaged over the frames in which it was seen.
        hidden: for how many frames it has not been seen.
        score: how sure the latest mask is, 0…1.
    """

    id: ObjectId
    label: str | None
    probability: Field
    reference_area: float
    hidden: int = 0
    score: float = 1.0
    appearance: Appearance = field(default_factory=Appearance)

    def init(self, view: View, probability: Field) -> None:
        """Take `probability` as true: start, or start again, from it."""
        cover = to_grid(probability)
        place = Place.of(cover) or Place.of(cover / max(float(cover.max()), 1e-6))
        self.probability, self.reference_area = probability, float((probability > 0.5).sum())
        self.hidden, self.score = 0, 1.0
        if place is not None:
            self.appearance.learn(view.cells, cover, place, anew=True)

    def likelihood(self, view: View, expected: Field) -> tuple[Field, NDArray[np.bool_]]:
        """Where the object may be, by its appearance: h×w float32 log odds, and h×w bool where they were asked for.

        Args:
            expected: h×w float32, where it is expected, in 0…1.
        """
        cover = to_grid(expected)
        place = Place.of(cover)
        size = view.grey.shape[1], view.grey.shape[0]
        near = np.zeros(cover.shape, np.bool_) if place is None else place.surroundings(cover, _REACH)
        odds = self.appearance.odds(view.cells, near, place)
        wide = cv2.resize(near.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return np.asarray(cv2.resize(odds, size, interpolation=cv2.INTER_LINEAR), np.float32), wide

    def update(
        self, view: View, mask: NDArray[np.bool_], probability: Field, likelihood: Field, *, learn: bool
    ) -> None:
        """Take the mask as the object's in this frame, if the rule lets it; otherwise the object is hidden."""
        area = float(np.count_nonzero(mask))
        like = float(likelihood[mask].mean()) if area else -np.inf
        if area < max(_LEFT * self.reference_area, 4 * CELL * CELL) or like < _LIKE:
            self.occlude()
            return
        steady = _STEADY[0] < area / self.reference_area < _STEADY[1]
        self.reference_area += 0.1 * (area - self.reference_area)
        self.probability, self.hidden = probability, 0
        self.score = float(1 / (1 + np.exp(-like)))
        cover = to_grid(probability)
        place = Place.of(cover)
        if learn and steady and place is not None:
            self.appearance.learn(view.cells, cover, place)

    def occlude(self) -> None:
        """It is not in this frame."""
        self.probability = np.zeros_like(self.probability)
        self.hidden += 1
        self.score = 0.0

    def anywhere(self, view: View) -> Field:
        """h×w float32 log odds of every pixel by appearance alone, wherever the object was before."""
        cells = view.cells[::_COARSE, ::_COARSE]
        odds = self.appearance.odds(cells, np.ones(cells.shape[:2], np.bool_), None)
        size = view.grey.shape[1], view.grey.shape[0]
        smooth = cv2.GaussianBlur(odds, (0, 0), 1.5 / _COARSE)
        return np.asarray(cv2.resize(smooth, size, interpolation=cv2.INTER_LINEAR), np.float32)

    def search(self, wide: Field, taken: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """h×w bool, the place that looks most like the hidden object; None if nothing does.

        Args:
            wide: h×w float32, what `anywhere` says of the frame.
            taken: h×w bool, the other objects.
        """
        wide = np.where(taken, -np.inf, wide)
        count, parts, stats, _ = cv2.connectedComponentsWithStats((wide > 0).astype(np.uint8))
        areas = stats[:, cv2.CC_STAT_AREA]
        sums = np.bincount(parts.ravel(), weights=np.where(wide > 0, wide, 0).ravel(), minlength=count)
        fits = (
            (areas > _SMALLEST * self.reference_area)
            & (areas < _LARGEST * self.reference_area)
            & (sums > _AGAIN * areas)
        )
        fits[0] = False
        if not fits.any():
            return None
        return np.asarray(parts == int(np.argmax(np.where(fits, sums, -1))), np.bool_)

    def verify(self, view: View, mask: NDArray[np.bool_]) -> bool:
        """Whether an h×w bool mask has about the object's area and looks like it."""
        cover = to_grid(mask.astype(np.float32)) > 0.5
        if not cover.any() or not _SMALLEST < np.count_nonzero(mask) / self.reference_area < _LARGEST:
            return False
        return float(self.appearance.odds(view.cells, cover, None)[cover].mean()) > _AGAIN
