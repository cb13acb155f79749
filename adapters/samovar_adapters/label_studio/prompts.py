"""What an annotator has drawn, as prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from samovar.errors import MaskError, PromptError
from samovar.masks import Masks
from samovar.prompts import Prompt
from samovar_adapters.label_studio import brush
from samovar_adapters.label_studio.frame import Frame

__all__ = ["Asked", "read_context", "rectangle_prompt"]

MOST = 2000
"""Regions in one request."""


@dataclass(frozen=True)
class Asked:
    """One wanted object.

    Attributes:
        prompt: carries the label.
        to_name: the image tag that was drawn on.
    """

    prompt: Prompt
    to_name: str


@dataclass
class _Object:
    """A box, a mask or neither, and the clicks that refine it."""

    box: tuple[float, float, float, float] | None = None
    mask: Masks | None = None
    clicks: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def around(self) -> tuple[float, float, float, float]:
        if self.box is not None:
            return self.box
        x1, y1, x2, y2 = (0, 0, 0, 0) if self.mask is None else self.mask.boxes[0].tolist()
        return x1, y1, x2, y2

    def distance(self, x: float, y: float) -> tuple[float, float]:
        """How far a click is from it, and, for clicks inside several, how large it is."""
        x1, y1, x2, y2 = self.around
        return float(np.hypot(max(x1 - x, 0, x - x2), max(y1 - y, 0, y - y2))), (x2 - x1) * (y2 - y1)


def read_context(result: Any, frame: Frame) -> list[Asked]:
    """The objects that the regions of a request's context ask for.

    Regions of one label on one image belong together: every rectangle, ellipse, polygon and brush region among them is
    an object, and a click refines the object it is nearest to; without any of these all clicks mean one object. A text
    is an object of its own. Clicks on the background alone ask for nothing.

    Args:
        result: `params.context.result` of the request, as it came.

    Raises:
        PromptError, MaskError: a malformed region; names its place.
    """
    if not isinstance(result, list):
        raise PromptError(f"context.result must be a list of regions; got {type(result).__name__}")
    if len(result) > MOST:
        raise PromptError(f"at most {MOST} regions a request; got {len(result)}")
    groups: dict[tuple[str, str | None], list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]] = {}
    for place, region in enumerate(result):
        value = region.get("value") if isinstance(region, dict) else None
        if not isinstance(value, dict):
            raise PromptError(f"context.result[{place}]: expected a region with a value; got {region!r:.60}")
        label = _label(region, value)
        groups.setdefault((str(region.get("to_name", "")), label), []).append(
            (f"context.result[{place}]", region, value)
        )
    asked = []
    for (to_name, label), regions in groups.items():
        asked += [Asked(prompt, to_name) for prompt in _prompts(regions, label, frame)]
    return asked


def rectangle_prompt(value: Mapping[str, Any], frame: Frame, *, id: str | None = None) -> Prompt:
    """The object in one rectangle, turned or not. Raises PromptError, also for one outside the picture."""
    found = _boxed("rectangle", value, frame)
    if found is None:
        raise PromptError("expected a rectangle inside the picture; got one without area in it; draw it again")
    return replace(_prompt(found, None), id=id)


def _label(region: Mapping[str, Any], value: Mapping[str, Any]) -> str | None:
    kind = str(region.get("type", ""))
    labels = value.get(kind) if kind.endswith("labels") else value.get("labels")
    first = labels[0] if isinstance(labels, list) and labels else None
    return first if isinstance(first, str) and first else None


def _prompts(
    regions: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]], label: str | None, frame: Frame
) -> list[Prompt]:
    objects: list[_Object] = []
    clicks: list[tuple[float, float, int]] = []
    texts: list[str] = []
    for where, region, value in regions:
        kind = str(region.get("type", "")).removesuffix("labels")
        try:
            if kind == "keypoint":
                clicks.append((*frame.point(value), 0 if region.get("is_positive") is False else 1))
            elif kind == "textarea":
                texts += _texts(value)
            else:
                drawn = _drawn(kind, value, frame)
                objects += [] if drawn is None else [drawn]
        except (PromptError, MaskError) as error:
            raise type(error)(f"{where}: {error}") from error
    if not objects and any(positive for *_, positive in clicks):
        objects = [_Object()]
    for x, y, positive in clicks if objects else ():
        min(objects, key=lambda one: one.distance(x, y)).clicks.append((x, y, positive))
    return [
        *(_prompt(one, label) for one in objects),
        *(Prompt(text=text, label=label or text) for text in texts),
    ]


def _drawn(kind: str, value: Mapping[str, Any], frame: Frame) -> _Object | None:
    """The object that a drawn region stands for; None where it has no area inside the image."""
    if kind == "brush":
        rle = value.get("rle")
        mask = brush.decode(rle if isinstance(rle, list) else [], frame.width, frame.height)
        return _Object(mask=mask) if mask.areas[0] else None
    if kind == "polygon":
        mask = Masks.from_polygons([[frame.polygon(value).astype(np.float32)]], frame.width, frame.height)
        return _Object(mask=mask) if mask.areas[0] else None
    if kind not in ("rectangle", "ellipse"):
        raise PromptError(f"expected a key point, rectangle, ellipse, polygon, brush or text; got {kind!r:.60}")
    return _boxed(kind, value, frame)


def _boxed(kind: str, value: Mapping[str, Any], frame: Frame) -> _Object | None:
    outline = frame.rectangle(value) if kind == "rectangle" else frame.ellipse(value)
    edge = (frame.width, frame.height)
    (x1, y1), (x2, y2) = np.clip(outline.min(axis=0), 0, edge), np.clip(outline.max(axis=0), 0, edge)
    if x2 - x1 < 1e-3 or y2 - y1 < 1e-3:
        return None
    found = _Object(box=(float(x1), float(y1), float(x2), float(y2)))
    centre = outline.mean(axis=0)
    if kind == "rectangle" and value.get("rotation") and (centre >= 0).all() and (centre <= edge).all():
        # A model knows no turned boxes: the upright one around it, and where in it the object is.
        found.clicks.append((float(centre[0]), float(centre[1]), 1))
    return found


def _texts(value: Mapping[str, Any]) -> list[str]:
    given = value.get("text")
    texts = given if isinstance(given, list) else [given]
    return [text.strip() for text in texts if isinstance(text, str) and text.strip()]


def _prompt(one: _Object, label: str | None) -> Prompt:
    points = [(x, y) for x, y, _ in one.clicks] or None
    labels = [positive for *_, positive in one.clicks] or None
    return Prompt(points=points, point_labels=labels, box=one.box, mask=one.mask, label=label)
