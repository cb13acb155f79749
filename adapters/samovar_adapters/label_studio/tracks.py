"""Boxes that move through a video, as Label Studio keeps them: keyframes, with straight lines between them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import PromptError
from samovar.prompts import Prompt
from samovar_adapters.label_studio.frame import Frame
from samovar_adapters.label_studio.prompts import rectangle_prompt

__all__ = ["Box", "Drawn", "keyframes_of", "read_drawn", "region_of"]

MOST = 100
"""Regions in one request."""
MOST_KEYFRAMES = 100_000

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2 in pixels."""


@dataclass(frozen=True)
class Drawn:
    """A region that an annotator has drawn in a video.

    Attributes:
        region: as it came.
        keyframes: of its `sequence`, by frame; at least one.
    """

    region: Mapping[str, Any]
    keyframes: tuple[Mapping[str, Any], ...]

    @property
    def id(self) -> str:
        """The region's own."""
        return str(self.region.get("id", ""))

    @property
    def last(self) -> int:
        """The frame from which it is to be followed, counted from 1."""
        return int(self.keyframes[-1]["frame"])

    def prompt(self, frame: Frame) -> Prompt:
        """What asks for the object in frame `last`. Raises PromptError for a box outside the picture."""
        return rectangle_prompt(self.keyframes[-1], frame, id=self.id)


def read_drawn(result: Sequence[Any], to_name: str) -> list[Drawn]:
    """The regions of a request's context that are to be followed through the video `to_name`.

    Raises:
        PromptError: a malformed region; names its place.
    """
    if len(result) > MOST:
        raise PromptError(f"at most {MOST} regions a request in a video; got {len(result)}")
    found: dict[str, Drawn] = {}
    for place, region in enumerate(result):
        if not isinstance(region, dict) or region.get("to_name") != to_name or region.get("type") != "videorectangle":
            continue
        where = f"context.result[{place}]"
        value = region.get("value")
        sequence = value.get("sequence") if isinstance(value, dict) else None
        if not isinstance(sequence, list) or not 0 < len(sequence) <= MOST_KEYFRAMES:
            raise PromptError(f"{where}: expected a sequence of 1 to {MOST_KEYFRAMES} keyframes; got {sequence!r:.60}")
        for keyframe in sequence:
            frame = keyframe.get("frame") if isinstance(keyframe, dict) else None
            if not isinstance(frame, int) or isinstance(frame, bool) or not 1 <= frame < 1 << 31:
                raise PromptError(f"{where}: expected keyframes with a frame, counted from 1; got {keyframe!r:.60}")
        one = Drawn(region, tuple(sorted(sequence, key=lambda keyframe: keyframe["frame"])))
        found[one.id] = one
    return list(found.values())


def keyframes_of(
    boxes: Mapping[int, Box | None], frame: Frame, rate: float, tolerance: float, *, open_end: bool
) -> list[dict[str, Any]]:
    """As few keyframes as describe where an object is.

    Args:
        boxes: by frame, counted from 1; None where it cannot be seen.
        rate: frames a second as the editor counts them.
        tolerance: pixels that an edge may be off between keyframes.
        open_end: the last box holds for what follows, too; otherwise the region ends there.
    """
    runs: list[list[tuple[int, Box]]] = []
    for number in sorted(boxes):
        box = boxes[number]
        if box is None:
            runs.append([])
        else:
            if not runs:
                runs.append([])
            runs[-1].append((number, box))
    runs = [run for run in runs if run]
    ends_open = open_end and bool(runs) and runs[-1][-1][0] == max(boxes)
    keyframes = []
    for run in runs:
        numbers, edges = np.array([number for number, _ in run]), np.array([box for _, box in run], float)
        kept = _corners(numbers, edges, tolerance)
        for at in kept:
            goes_on = at != kept[-1] or (run is runs[-1] and ends_open)
            keyframes.append(_keyframe(int(numbers[at]), edges[at], frame, rate, enabled=goes_on))
    return keyframes


def region_of(
    boxes: str, to_name: str, labels: Sequence[str], value: Mapping[str, Any], ident: str | None, score: float
) -> dict[str, Any]:
    """A region of the `VideoRectangle` named `boxes`; `value` has the sequence."""
    return {
        "id": ident or uuid.uuid4().hex[:10],
        "from_name": boxes,
        "to_name": to_name,
        "type": "videorectangle",
        "score": round(score, 4),
        "value": {**value, **({"labels": list(labels)} if labels else {})},
    }


def labels_of(drawn: Drawn) -> list[str]:
    """The labels that a region came with."""
    given = drawn.region["value"].get("labels")
    return [label for label in given if isinstance(label, str)] if isinstance(given, list) else []


def _keyframe(number: int, edges: NDArray[np.float64], frame: Frame, rate: float, *, enabled: bool) -> dict[str, Any]:
    (x1, y1), (x2, y2) = frame.percent(edges.reshape(2, 2)).tolist()
    shape = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}
    return {"frame": number, "enabled": enabled, "time": number / rate, **shape}


def _corners(numbers: NDArray[np.int64], edges: NDArray[np.float64], tolerance: float) -> list[int]:
    """Indices to keep so that straight lines between them stay within `tolerance` of all edges (Douglas–Peucker)."""
    keep = {0, len(numbers) - 1}
    todo = [(0, len(numbers) - 1)]
    while todo:
        first, last = todo.pop()
        if last - first < 2:
            continue
        inside = slice(first + 1, last)
        share = (numbers[inside] - numbers[first]) / (numbers[last] - numbers[first])
        straight = edges[first] + share[:, None] * (edges[last] - edges[first])
        off = np.abs(edges[inside] - straight).max(axis=1)
        worst = int(off.argmax())
        if off[worst] > tolerance:
            at = first + 1 + worst
            keep.add(at)
            todo += [(first, at), (at, last)]
    return sorted(keep)
