"""The videos of tasks: boxes that annotators draw, followed by the tracking adapter, and back as keyframes."""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, PromptError
from samovar.prompts import Prompt, Prompts
from samovar.tracking import EditableTracker
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.config import Video
from samovar_adapters.label_studio.prompts import labels_of, rectangle_prompt
from samovar_adapters.label_studio.regions import ImageSize
from samovar_adapters.serve import Busy

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks
    from samovar.protocols import PromptSource
    from samovar.runtime import Runtime
    from samovar.types import ObjectId
    from samovar_adapters.serve import Engine
    from samovar_adapters.video import Frame as VideoFrame

__all__ = ["Box", "DrawnTrack", "Videos", "follow_video", "keyframes_of", "read_tracks"]

KEPT = 4
"""Videos that stay on disk after they were asked for."""
WAITING = 8
"""Requests that may wait for one another: one video is followed at a time, for that takes a whole processor."""
MOST = 100
"""Regions in one request."""
MOST_KEYFRAMES = 100_000

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2 in pixels."""

_SOON = 0.25  # of the time between two numbers, because files round the times of their frames


class Videos:
    """Follows boxes that were drawn in a task's video, as far as the time allows; asking again goes on from there.

    Args:
        most: frames that a request follows.
        seconds: that a request may take, a little less than Label Studio waits.
        tolerance: pixels that a box may be off between its keyframes.
    """

    def __init__(self, engine: Engine, client: Client, *, most: int, seconds: float, tolerance: float) -> None:
        self._engine, self._client = engine, client
        self._most, self._seconds, self._tolerance = most, seconds, tolerance
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="samovar-follow")
        self._waiting = 0
        self._folder: str | None = None
        self._kept: OrderedDict[str, Path] = OrderedDict()

    async def drawn(
        self, task: Mapping[str, Any], name: str, video: Video, result: Sequence[Any]
    ) -> tuple[list[dict[str, Any]], float]:
        """The regions of `result` with where their objects go, and the mean of their scores. Raises SamovarError."""
        drawn = read_tracks(result, name)
        if not drawn:
            raise PromptError(f"expected a rectangle drawn in the video {name}; got none")
        starts: dict[int, list[DrawnTrack]] = {}
        for one in drawn:
            starts.setdefault(one.last, []).append(one)

        def begin(number: int, image: Image) -> Prompts:
            size = ImageSize(image.width, image.height)
            return Prompts.of([one.prompt(size) for one in starts.get(number, ())])

        found = await self._follow(task, video, min(starts), begin)
        rate = video.rate(task)
        scores = [found.score(one.id) for one in drawn]
        regions = [
            region_of(
                str(one.region.get("from_name") or video.boxes),
                name,
                labels_of(one.region),
                {**one.region["value"], "sequence": self._sequence(one, found, rate)},
                one.id,
                score,
            )
            for one, score in zip(drawn, scores)
        ]
        return regions, sum(scores) / len(scores)

    async def found(
        self,
        task: Mapping[str, Any],
        name: str,
        video: Video,
        source: PromptSource,
        named: Callable[[Prompts], Prompts],
    ) -> tuple[list[dict[str, Any]], float]:
        """What `source` finds in the first frame, followed. Raises SamovarError."""

        def begin(number: int, image: Image) -> Prompts:
            return named(source.prompts([image])[0]) if number == 1 else Prompts.of([])

        found = await self._follow(task, video, 1, begin)
        rate = video.rate(task)
        regions = []
        for ident, boxes in found.boxes.items():
            assert found.size is not None  # noqa: S101  (there are boxes)
            sequence = keyframes_of(boxes, found.size, rate, self._tolerance, open_end=found.to_the_end)
            label = found.labels[ident]
            value = {"framesCount": math.ceil(found.seconds * rate), "duration": found.seconds, "sequence": sequence}
            labels = [] if label is None else [label]
            regions.append(region_of(video.boxes, name, labels, value, None, found.score(ident)))
        return regions, sum(region["score"] for region in regions) / max(len(regions), 1)

    # ------------------------------------------------------------------------------------------------- how

    def _sequence(self, one: DrawnTrack, found: Tracks, rate: float) -> list[dict[str, Any]]:
        boxes = found.boxes.get(one.id)
        if boxes is None or found.size is None:
            return [dict(keyframe) for keyframe in one.keyframes]
        later = keyframes_of(boxes, found.size, rate, self._tolerance, open_end=found.to_the_end)
        # The box as it was drawn stays; what was found there is where the others start from.
        last = {**one.keyframes[-1], "enabled": not later or later[0]["frame"] > one.last or later[0]["enabled"]}
        return [*map(dict, one.keyframes[:-1]), last, *(frame for frame in later if frame["frame"] > one.last)]

    async def _follow(
        self, task: Mapping[str, Any], video: Video, first: int, begin: Callable[[int, Image], Prompts]
    ) -> Tracks:
        if self._waiting >= WAITING:
            raise Busy("too many videos are waiting to be followed; try again in a moment")
        reference = video.reference(task)
        number = task.get("id") if isinstance(task.get("id"), int) else None
        runtime = await self._engine.runtime()
        until, stop = time.monotonic() + self._seconds, threading.Event()

        def work() -> Tracks:
            if time.monotonic() > until or stop.is_set():
                raise Busy("other videos took all of the time; try again in a moment")
            path = self._file(reference, number)
            rate = video.rate(task)
            return follow_video(runtime, path, rate, first, begin, most=self._most, until=until, stop=stop)

        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._worker.submit(work))
        finally:
            stop.set()  # whoever asked may have gone
            self._waiting -= 1

    def _file(self, reference: str, task: int | None) -> Path:
        """The video as a file, fetched unless it is there. In the one thread that reads them."""
        path = self._kept.pop(reference, None)
        if path is None:
            if self._folder is None:
                self._folder = tempfile.mkdtemp(prefix="samovar-videos-")
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                path = Path(file.name)
                try:
                    self._client.video(reference, task, file)
                except BaseException:
                    path.unlink()
                    raise
        self._kept[reference] = path
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)[1].unlink(missing_ok=True)
        return path


# ------------------------------------------------------------------------------------------------- following


@dataclass
class Tracks:
    """Where objects have been seen.

    Attributes:
        size: of the frames; None where the video ends before the first of them is wanted.
        boxes: of every object, by frame as the editor counts them; None where it is hidden.
        labels: of the objects.
        scores: of the objects, while they were seen.
        seconds: how long the video is.
        to_the_end: whether it was followed to the last frame.
    """

    size: ImageSize | None = None
    boxes: dict[ObjectId, dict[int, Box | None]] = field(default_factory=dict)
    labels: dict[ObjectId, str | None] = field(default_factory=dict)
    scores: dict[ObjectId, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    to_the_end: bool = False

    def add(self, number: int, masks: Masks) -> None:
        """Note the objects of one frame."""
        for index, ident in enumerate(masks.ids):
            assert ident is not None  # noqa: S101  (trackers number what has none)
            seen = bool(masks.areas[index])
            x1, y1, x2, y2 = masks.boxes[index].tolist()
            self.boxes.setdefault(ident, {})[number] = (x1, y1, x2, y2) if seen else None
            self.labels[ident] = masks.labels[index]
            if seen:
                self.scores.setdefault(ident, []).append(float(masks.scores[index]))

    def score(self, ident: ObjectId) -> float:
        """The mean of an object's scores."""
        return float(np.mean(self.scores.get(ident, [0.0])))


def follow_video(
    runtime: Runtime,
    path: Path,
    rate: float,
    first: int,
    begin: Callable[[int, Image], Prompts],
    *,
    most: int,
    until: float,
    stop: threading.Event,
) -> Tracks:
    """Follow objects from frame `first` on, for `most` frames, or until the time is up (`time.monotonic`).

    Args:
        rate: frames a second as the editor counts them; the file's own may be another.
        begin: what to follow from this frame on (number, from 1, and image), besides what is followed.

    Raises:
        InputError: not a video; a later frame with objects, for a tracker that takes none on the way.
        PromptError: a prompt that finds nothing.
        MissingExtraError: PyAV is not installed.
    """
    from samovar_adapters.video import open_frames, open_tracker

    found = Tracks()
    tracker = open_tracker(runtime)
    shown: VideoFrame | None = None
    masks: Masks | None = None
    with closing(open_frames(str(path))) as reader:
        found.seconds = float((reader.length or 0) / reader.rate)
        for number, frame in _as_counted(reader, rate):
            if number >= first + most or time.monotonic() > until or stop.is_set():
                return found
            if number < first:
                continue
            prompts = begin(number, frame.image)
            if masks is None:
                found.size = ImageSize(frame.image.width, frame.image.height)
                masks = tracker.start(frame.image, prompts)
            else:
                masks = masks if frame is shown else tracker.step(frame.image)
                if len(prompts):
                    if not isinstance(tracker, EditableTracker):
                        raise InputError(f"{runtime.name} follows only what it starts with; keep to one key frame")
                    masks = tracker.add(prompts)
            shown = frame
            found.add(number, masks)
    found.to_the_end = True
    return found


def _as_counted(frames: Iterable[VideoFrame], rate: float) -> Iterator[tuple[int, VideoFrame]]:
    """The frame that the editor shows for each of its numbers: number n at (n - 1) / rate seconds."""
    number = 1
    shown: VideoFrame | None = None
    began = 0.0
    for frame in frames:
        if shown is None:
            began = float(frame.time)
        else:
            while number - 1 < (float(frame.time) - began) * rate - _SOON:
                yield number, shown
                number += 1
        shown = frame
    if shown is not None:
        yield number, shown


# ------------------------------------------------------------------------------------------------- keyframes


@dataclass(frozen=True)
class DrawnTrack:
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

    def prompt(self, size: ImageSize) -> Prompt:
        """What asks for the object in frame `last`. Raises PromptError for a box outside the image."""
        return rectangle_prompt(self.keyframes[-1], size, id=self.id)


def read_tracks(result: Sequence[Any], to_name: str) -> list[DrawnTrack]:
    """The regions of a request's context that are to be followed through the video `to_name`.

    Raises:
        PromptError: a malformed region; names its place.
    """
    if len(result) > MOST:
        raise PromptError(f"at most {MOST} regions a request in a video; got {len(result)}")
    found: dict[str, DrawnTrack] = {}
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
        one = DrawnTrack(region, tuple(sorted(sequence, key=lambda keyframe: keyframe["frame"])))
        found[one.id] = one
    return list(found.values())


def keyframes_of(
    boxes: Mapping[int, Box | None], size: ImageSize, rate: float, tolerance: float, *, open_end: bool
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
            keyframes.append(_keyframe(int(numbers[at]), edges[at], size, rate, enabled=goes_on))
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


def _keyframe(
    number: int, edges: NDArray[np.float64], size: ImageSize, rate: float, *, enabled: bool
) -> dict[str, Any]:
    (x1, y1), (x2, y2) = size.percent(edges.reshape(2, 2)).tolist()
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
