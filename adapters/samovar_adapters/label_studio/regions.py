"""Masks as the regions that a labelling configuration wants."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.masks import Masks
from samovar_adapters.formats import deepest, with_slits
from samovar_adapters.label_studio import brush
from samovar_adapters.label_studio.config import KINDS, Control
from samovar_adapters.label_studio.frame import Frame

__all__ = ["draw_something", "ellipse_of", "regions"]

POINT_WIDTH = 0.5
"""Of key points, in percent."""


def regions(mask: Masks, control: Control, *, tolerance: float = 1.0, rotation: int = 0) -> list[dict[str, Any]]:
    """The one mask as results of `control`: one region, or, for polygons, one for every part. None for an empty mask.

    Args:
        mask: its label and score go along.
        tolerance: pixels that a polygon's outline may move to have fewer points.
        rotation: how the image is turned in the editor (`image_rotation`), which the answer has to repeat.
    """
    if not mask.areas[0]:
        return []
    frame = Frame(mask.width, mask.height)
    named = {control.type: [mask.labels[0]]} if mask.labels[0] is not None and control.type.endswith("labels") else {}
    return [
        {
            "id": uuid.uuid4().hex[:10],
            "from_name": control.name,
            "to_name": control.to_name,
            "type": control.type,
            "original_width": mask.width,
            "original_height": mask.height,
            "image_rotation": rotation,
            "score": round(float(mask.scores[0]), 4),
            "value": {**value, **named},
        }
        for value in _values(mask, control, frame, tolerance)
    ]


def draw_something() -> None:
    """A region of every kind, for what is compiled on first use."""
    drawn = np.zeros((1, 16, 16), np.bool_)
    drawn[:, 4:12, 4:12] = True
    for kind in KINDS:
        regions(Masks.from_array(drawn), Control("", "", kind, kind, (), smart=False, rotates=True))


def _values(mask: Masks, control: Control, frame: Frame, tolerance: float) -> Iterator[dict[str, Any]]:
    if control.kind == "brush":
        yield {"format": "rle", "rle": brush.encode(mask)}
    elif control.kind == "polygon":
        for polygon in mask.to_polygons(tolerance)[0]:
            # Label Studio's polygons have no holes: a slit of no width leads to each.
            yield {"points": frame.percent(with_slits(polygon)).tolist(), "closed": True}
    elif control.kind == "rectangle":
        yield _turned_rectangle(mask, frame) if control.rotates and _is_slanted(mask) else _rectangle(mask, frame)
    elif control.kind == "ellipse":
        yield _ellipse(mask, frame)
    else:
        ((x, y),) = frame.percent([deepest(mask)]).tolist()
        yield {"x": x, "y": y, "width": POINT_WIDTH}


def _rectangle(mask: Masks, frame: Frame) -> dict[str, Any]:
    (x1, y1), (x2, y2) = frame.percent(mask.boxes[0].reshape(2, 2)).tolist()
    return {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}


def _is_slanted(mask: Masks) -> bool:
    """Whether a turned rectangle fits clearly better: by a fifth less area than the upright one."""
    x1, y1, x2, y2 = mask.boxes[0].tolist()
    _, _, width, height, angle = mask.rotated_boxes()[0].tolist()
    return bool(angle) and width * height < 0.8 * (x2 - x1) * (y2 - y1)


def _turned_rectangle(mask: Masks, frame: Frame) -> dict[str, Any]:
    cx, cy, width, height, angle = mask.rotated_boxes()[0].tolist()
    turn = math.radians(angle)
    along, down = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
    ((x, y),) = frame.percent([np.array([cx, cy]) - along * width / 2 - down * height / 2]).tolist()
    sides = {"width": width * 100 / frame.width, "height": height * 100 / frame.height}
    return {"x": x, "y": y, **sides, "rotation": angle}


def _ellipse(mask: Masks, frame: Frame) -> dict[str, Any]:
    cx, cy, across, down, angle = ellipse_of(mask).tolist()
    ((x, y),) = frame.percent([(cx, cy)]).tolist()
    return {
        "x": x,
        "y": y,
        "radiusX": across * 100 / frame.width,
        "radiusY": down * 100 / frame.height,
        "rotation": angle,
    }


def ellipse_of(mask: Masks) -> NDArray[np.float64]:
    """Centre x, y, radii along and across its axis in pixels, and the axis' angle (degrees, clockwise on the screen).

    The filled ellipse that has the mask's centre of gravity and second moments.
    """
    crop, left, top = next(mask.crops())
    y, x = np.nonzero(crop)
    points = np.stack([x + left + 0.5, y + top + 0.5])
    centre = points.mean(axis=1)
    spread = np.cov(points, bias=True).reshape(2, 2) + np.eye(2) / 12  # a pixel is a square, not its centre
    values, axes = np.linalg.eigh(spread)
    angle = math.degrees(math.atan2(axes[1, 1], axes[0, 1])) % 180
    return np.array([*centre, 2 * math.sqrt(values[1]), 2 * math.sqrt(values[0]), angle])
