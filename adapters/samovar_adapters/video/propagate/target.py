"""`Target`: one followed object, and the rule by which it is seen, hidden and found again.

The rule. An object is *hidden* when less than 15 % of its usual area is left, or when what is left does not look like
it any more. It keeps its id, has an empty mask, and learns nothing. In every frame it is then looked for by its looks
alone, over the whole picture: it is *seen again* where a connected place of 30 % to 300 % of its usual area looks
like it and unlike everything else that has been seen, is no other object's, and the segmenter's mask there looks like
it too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.types import ObjectId
from samovar_adapters.video.propagate.appearance import Appearance, Place
from samovar_adapters.video.propagate.belief import Field
from samovar_adapters.video.propagate.view import CELL, View, to_grid

__all__ = ["LEARN_EVERY", "Target"]

LEARN_EVERY = 4  # frames
_REACH = 0.35  # of its size: how far beyond the expected place an object may be
_LEFT = 0.15  # of the usual area, below which it is hidden
_LIKE = 0.0  # mean log odds of its looks, below which it is hidden or not the same
_AGAIN = 0.8  # the same, to be seen again
_SMALLEST, _LARGEST = 0.3, 3.0  # of the usual area, to be seen again
_COARSE = 2  # only every so many cells, across and down, are looked at when it may be anywhere
_STEADY = 0.6, 1.6  # of the usual area, in which it is learned from


@dataclass
class Target:
    """One object.

    Attributes:
        chance: h×w float32 on the small frame, how likely each pixel was the object in the latest frame; zeros while
            hidden.
        usual: its area in pixels of the small frame, averaged over the frames in which it was seen.
        hidden: for how many frames it has not been seen.
        score: how sure the latest mask is, 0…1.
    """

    id: ObjectId
    label: str | None
    chance: Field
    usual: float
    hidden: int = 0
    score: float = 1.0
    appearance: Appearance = field(default_factory=Appearance)

    def teach(self, view: View, chance: Field) -> None:
        """Take `chance` as true: start, or start again, from it."""
        cover = to_grid(chance)
        place = Place.of(cover) or Place.of(cover / max(float(cover.max()), 1e-6))
        self.chance, self.usual, self.hidden, self.score = chance, float((chance > 0.5).sum()), 0, 1.0
        if place is not None:
            self.appearance.learn(view.cells, cover, place, anew=True)

    def looks(self, view: View, expected: Field) -> tuple[Field, NDArray[np.bool_]]:
        """Where the object may be, by its looks: h×w float32 log odds, and h×w bool where they were asked for.

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

    def see(self, view: View, mask: NDArray[np.bool_], chance: Field, looks: Field, *, learn: bool) -> bool:
        """Take the mask as the object's in this frame, if the rule lets it; otherwise the object is hidden."""
        area = float(np.count_nonzero(mask))
        like = float(looks[mask].mean()) if area else -np.inf
        if area < max(_LEFT * self.usual, 4 * CELL * CELL) or like < _LIKE:
            self.hide()
            return False
        steady = _STEADY[0] < area / self.usual < _STEADY[1]
        self.usual += 0.1 * (area - self.usual)
        self.chance, self.hidden = chance, 0
        self.score = float(1 / (1 + np.exp(-like)))
        cover = to_grid(chance)
        place = Place.of(cover)
        if learn and steady and place is not None:
            self.appearance.learn(view.cells, cover, place)
        return True

    def hide(self) -> None:
        """It is not in this frame."""
        self.chance = np.zeros_like(self.chance)
        self.hidden += 1
        self.score = 0.0

    def anywhere(self, view: View) -> Field:
        """h×w float32 log odds of every pixel by looks alone, wherever the object was before."""
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
        fits = (areas > _SMALLEST * self.usual) & (areas < _LARGEST * self.usual) & (sums > _AGAIN * areas)
        fits[0] = False
        if not fits.any():
            return None
        return np.asarray(parts == int(np.argmax(np.where(fits, sums, -1))), np.bool_)

    def recognises(self, view: View, mask: NDArray[np.bool_]) -> bool:
        """Whether an h×w bool mask has about the object's area and looks like it."""
        cover = to_grid(mask.astype(np.float32)) > 0.5
        if not cover.any() or not _SMALLEST < np.count_nonzero(mask) / self.usual < _LARGEST:
            return False
        return float(self.appearance.odds(view.cells, cover, None)[cover].mean()) > _AGAIN
