"""What an annotator has drawn, as prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from samovar.errors import MaskError, PromptError
from samovar.masks import Masks
from samovar.prompts import Prompt
from samovar_adapters.label_studio.regions import ImageSize, decode_bitmask, decode_brush

__all__ = ["labels_of", "read_context", "rectangle_prompt"]

MOST = 2000
"""Regions in one request."""

# Results that are no regions themselves: what they say is of the region with their id, or of the image.
_SAID_OF_REGIONS = frozenset(
    ("labels", "textarea", "choices", "rating", "number", "taxonomy", "datetime", "pairwise", "ranker", "relation")
)


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


def read_context(result: Any, size: ImageSize, to_name: str, item: int = 0) -> list[Prompt]:
    """The objects that the regions of a request's context ask for on one image.

    Regions of one label belong together: every rectangle, ellipse, polygon, brush and bitmask region among them is an
    object, and a click refines the object it is nearest to; without any of these all clicks mean one object. A text is
    an object of its own. Clicks on the background alone ask for nothing. What else is said of a region, in results with
    its id (the label of a `Labels` tag, choices, a transcription), or of the image, is no region.

    Args:
        result: `params.context.result` of the request, as it came.
        to_name: the image's tag.
        item: which of the tag's images.

    Raises:
        PromptError, MaskError: a malformed region; names its place.
    """
    if not isinstance(result, list):
        raise PromptError(f"context.result must be a list of regions; got {type(result).__name__}")
    if len(result) > MOST:
        raise PromptError(f"at most {MOST} regions a request; got {len(result)}")
    for place, region in enumerate(result):
        if not isinstance(region, dict):
            raise PromptError(f"context.result[{place}]: expected a region with a value; got {region!r:.60}")
    here = [(place, one) for place, one in enumerate(result) if _is_on(one, to_name, item)]
    shapes = {_id(one) for _, one in here if _kind(one) not in _SAID_OF_REGIONS} - {""}
    named = {_id(one): labels_of(one) for _, one in here if one.get("type") == "labels"}
    groups: dict[str | None, list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]] = {}
    for place, region in here:
        if _kind(region) in _SAID_OF_REGIONS and (_kind(region) != "textarea" or _id(region) in shapes):
            continue
        where, value = f"context.result[{place}]", region.get("value")
        if not isinstance(value, dict):
            raise PromptError(f"{where}: expected a region with a value; got {region!r:.60}")
        labels = labels_of(region) or (named.get(_id(region), []) if _id(region) else [])
        groups.setdefault(labels[0] if labels else None, []).append((where, region, value))
    return [prompt for label, regions in groups.items() for prompt in _prompts(regions, label, size)]


def labels_of(region: Mapping[str, Any]) -> list[str]:
    """The labels that one result says, several where the tag offers that."""
    value, kind = region.get("value"), str(region.get("type", ""))
    labels = (value.get(kind) if kind.endswith("labels") else value.get("labels")) if isinstance(value, dict) else None
    return [label for label in labels if isinstance(label, str) and label] if isinstance(labels, list) else []


def rectangle_prompt(value: Mapping[str, Any], size: ImageSize, *, id: str | None = None) -> Prompt:
    """The object in one rectangle, turned or not. Raises PromptError, also for one outside the image."""
    found = _boxed("rectangle", value, size)
    if found is None:
        raise PromptError("expected a rectangle inside the image; got one without area in it; draw it again")
    return replace(_prompt(found, None), id=id)


def _is_on(region: Mapping[str, Any], to_name: str, item: int) -> bool:
    return bool(region.get("to_name") == to_name and (region.get("item_index") or 0) == item)


def _id(region: Mapping[str, Any]) -> str:
    return str(region.get("id") or "")


def _kind(region: Mapping[str, Any]) -> str:
    kind = str(region.get("type", ""))
    return kind if kind == "labels" else kind.removesuffix("labels")


def _prompts(
    regions: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]], label: str | None, size: ImageSize
) -> list[Prompt]:
    objects: list[_Object] = []
    clicks: list[tuple[float, float, int]] = []
    texts: list[str] = []
    for where, region, value in regions:
        kind = _kind(region)
        try:
            if kind == "keypoint":
                clicks.append((*size.point(value), 0 if region.get("is_positive") is False else 1))
            elif kind == "textarea":
                texts += _texts(value)
            else:
                drawn = _drawn(kind, value, size)
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


def _drawn(kind: str, value: Mapping[str, Any], size: ImageSize) -> _Object | None:
    """The object that a drawn region stands for; None where it has no area inside the image."""
    if kind == "brush":
        rle = value.get("rle")
        mask = decode_brush(rle if isinstance(rle, list) else [], size.width, size.height)
        return _Object(mask=mask) if mask.areas[0] else None
    if kind == "bitmask":
        mask = decode_bitmask(value.get("imageDataURL"), size.width, size.height)
        return _Object(mask=mask) if mask.areas[0] else None
    if kind == "polygon":
        mask = Masks.from_polygons([[size.polygon(value).astype(np.float32)]], size.width, size.height)
        return _Object(mask=mask) if mask.areas[0] else None
    if kind not in ("rectangle", "ellipse"):
        raise PromptError(
            f"expected a key point, rectangle, ellipse, polygon, brush, bitmask or text; got {kind!r:.60}"
        )
    return _boxed(kind, value, size)


def _boxed(kind: str, value: Mapping[str, Any], size: ImageSize) -> _Object | None:
    outline = size.rectangle(value) if kind == "rectangle" else size.ellipse(value)
    edge = (size.width, size.height)
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
