"""Percentages of an image as Label Studio counts them, and pixels as Samovar does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import PromptError

__all__ = ["Frame"]

Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """One image's size in pixels. Label Studio's percentages are of these, x of the width and y of the height.

    That holds for an image that the annotator has turned, too: `image_rotation` says how it was shown, and what is
    drawn on it comes in the frame of the image as it is stored.
    """

    width: int
    height: int

    def point(self, value: Mapping[str, Any]) -> tuple[float, float]:
        """`x` and `y` in pixels, at most at the image's edge. Raises PromptError."""
        x, y = self._x(value, "x"), self._y(value, "y")
        return min(max(x, 0.0), float(self.width)), min(max(y, 0.0), float(self.height))

    def rectangle(self, value: Mapping[str, Any]) -> Pixels:
        """4×2 corners in pixels, clockwise from the first, which is what `rotation` turns about. Raises PromptError."""
        x, y = self._x(value, "x"), self._y(value, "y")
        width, height = self._x(value, "width"), self._y(value, "height")
        angle = math.radians(_number(value, "rotation", 0.0))
        along, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        corners: Pixels = np.stack([0 * along, width * along, width * along + height * down, height * down])
        corners += (x, y)
        return corners

    def ellipse(self, value: Mapping[str, Any], points: int = 64) -> Pixels:
        """K×2 points along it, in pixels. Raises PromptError."""
        x, y = self._x(value, "x"), self._y(value, "y")
        across, down = self._x(value, "radiusX"), self._y(value, "radiusY")
        turn = math.radians(_number(value, "rotation", 0.0))
        at = np.linspace(0, 2 * math.pi, points, endpoint=False)
        flat = np.stack([across * np.cos(at), down * np.sin(at)], axis=1)
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        turned: Pixels = np.array([x, y]) + flat @ rotation
        return turned

    def polygon(self, value: Mapping[str, Any]) -> Pixels:
        """K×2 points in pixels. Raises PromptError for fewer than 3."""
        try:
            points = np.asarray(value.get("points"), float)
        except (TypeError, ValueError, OverflowError):
            points = np.zeros(0)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
            raise PromptError(f"points must be at least 3 of [x, y]; got {value.get('points')!r:.60}")
        return points * (self.width / 100, self.height / 100)

    def percent(self, points: ArrayLike) -> NDArray[np.float64]:
        """N×2 pixels as percentages."""
        scaled: NDArray[np.float64] = np.asarray(points, float) * (100 / self.width, 100 / self.height)
        return scaled

    def _x(self, value: Mapping[str, Any], name: str) -> float:
        return _number(value, name) * self.width / 100

    def _y(self, value: Mapping[str, Any], name: str) -> float:
        return _number(value, name) * self.height / 100


def _number(value: Mapping[str, Any], name: str, default: float | None = None) -> float:
    given = value.get(name, default)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not abs(given) < math.inf:
        raise PromptError(f"{name} must be a finite number; got {given!r:.60}")
    if abs(given) > 1e6:
        raise PromptError(f"{name} must be a percentage or an angle; got {given!r:.60}")
    return float(given)
