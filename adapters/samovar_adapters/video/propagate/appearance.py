"""What an object and its surroundings have looked like: examples of both, and how much a place looks like either."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Appearance", "Examples", "Place"]

_EXAMPLES = 500  # of the object, as many of its surroundings and of the rest, kept a frame
_RECENT = 4  # frames kept besides the first
_SOFTNESS = 0.25  # difference of distances that makes one unit of log odds
_MOST = 4.0  # log odds
_NEARNESS = 1.0  # how much a shift by the object's own size weighs, in units of the descriptors
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
            place: where the object is expected, to tell it from its surroundings there; None to go by looks alone,
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
    """Distance of every row of `asked` to the nearest of `known`. In slices, so that memory stays small."""
    if not len(known):
        return np.full(len(asked), np.inf, np.float32)
    lengths = (known * known).sum(axis=1)
    found = [(lengths - 2 * part @ known.T).min(axis=1) for part in np.array_split(asked, max(1, len(asked) // 1024))]
    squares = np.concatenate(found) + (asked * asked).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)
