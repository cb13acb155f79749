"""The videos of tasks, and what annotators draw in them."""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar.errors import PromptError
from samovar.prompts import Prompts
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.config import Video
from samovar_adapters.label_studio.following import Followed, follow_video
from samovar_adapters.label_studio.frame import Frame
from samovar_adapters.label_studio.pictures import reference_of
from samovar_adapters.label_studio.tracks import Drawn, keyframes_of, labels_of, read_drawn, region_of
from samovar_adapters.serve.problems import Busy

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.protocols import PromptSource
    from samovar_adapters.serve.engine import Engine

__all__ = ["Videos"]

KEPT = 4
"""Videos that stay on disk after they were asked for."""
WAITING = 8
"""Requests that may wait for one another: one video is followed at a time, for that takes a whole processor."""


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
        drawn = read_drawn(result, name)
        if not drawn:
            raise PromptError(f"expected a rectangle drawn in the video {name}; got none")
        starts: dict[int, list[Drawn]] = {}
        for one in drawn:
            starts.setdefault(one.last, []).append(one)

        def begin(number: int, image: Image) -> Prompts:
            frame = Frame(image.width, image.height)
            return Prompts.of([one.prompt(frame) for one in starts.get(number, ())])

        found = await self._follow(task, video, min(starts), begin)
        rate = video.rate(task)
        scores = [found.score(one.id) for one in drawn]
        regions = [
            region_of(
                str(one.region.get("from_name") or video.boxes),
                name,
                labels_of(one),
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
            assert found.frame is not None  # noqa: S101  (there are boxes)
            sequence = keyframes_of(boxes, found.frame, rate, self._tolerance, open_end=found.to_the_end)
            label = found.labels[ident]
            value = {"framesCount": math.ceil(found.seconds * rate), "duration": found.seconds, "sequence": sequence}
            labels = [] if label is None else [label]
            regions.append(region_of(video.boxes, name, labels, value, None, found.score(ident)))
        return regions, sum(region["score"] for region in regions) / max(len(regions), 1)

    # ------------------------------------------------------------------------------------------------- how

    def _sequence(self, one: Drawn, found: Followed, rate: float) -> list[dict[str, Any]]:
        boxes = found.boxes.get(one.id)
        if boxes is None or found.frame is None:
            return [dict(keyframe) for keyframe in one.keyframes]
        later = keyframes_of(boxes, found.frame, rate, self._tolerance, open_end=found.to_the_end)
        # The box as it was drawn stays; what was found there is where the others start from.
        last = {**one.keyframes[-1], "enabled": not later or later[0]["frame"] > one.last or later[0]["enabled"]}
        return [*map(dict, one.keyframes[:-1]), last, *(frame for frame in later if frame["frame"] > one.last)]

    async def _follow(
        self, task: Mapping[str, Any], video: Video, first: int, begin: Callable[[int, Image], Prompts]
    ) -> Followed:
        if self._waiting >= WAITING:
            raise Busy("too many videos are waiting to be followed; try again in a moment")
        reference = reference_of(task, video.key)
        number = task.get("id") if isinstance(task.get("id"), int) else None
        runtime = await self._engine.runtime()
        until, stop = time.monotonic() + self._seconds, threading.Event()

        def work() -> Followed:
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
