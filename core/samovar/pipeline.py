"""Images in, masks to sinks: decoded ahead of the model, one bad file at a time, resumable after a kill."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Literal

from samovar.errors import Cancelled, SamovarError
from samovar.image import Image
from samovar.masks import Masks
from samovar.protocols import MaskSink
from samovar.worklist import Item

__all__ = ["Outcome", "run"]

READ_AHEAD_BYTES = 256 << 20
READ_AHEAD_IMAGES = 8


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        key: the item's.
        status: "written", "skipped" (every sink already had it) or "failed".
        masks: what was written.
        error: why it failed.
    """

    key: str
    status: Literal["written", "skipped", "failed"]
    masks: Masks | None = None
    error: Exception | None = None


def run(
    work: Iterable[Item],
    segment: Callable[[Item, Image], Masks],
    sinks: Mapping[str, MaskSink],
    *,
    resume: bool = True,
    readers: int = 2,
    needs_pixels: Callable[[Image], bool] = lambda image: True,
    cancel: threading.Event | None = None,
) -> Iterator[Outcome]:
    """One outcome an item, in order. The sinks are closed at the end, whatever happens.

    An item that fails is reported and the rest go on. Images are read by `readers` threads ahead of `segment`, at most
    8 of them and 256 MiB of pixels.

    Args:
        resume: skip, without opening it, an item that every sink already has; otherwise write it anew.
        needs_pixels: whether an image's pixels will be wanted; those that will not be are not decoded ahead.
        cancel: set it to stop after the image at hand; then Cancelled is raised.
    """
    with ExitStack() as stack:
        for sink in sinks.values():
            stack.enter_context(closing(sink))
        have = {name: frozenset(sink.done() if resume else ()) for name, sink in sinks.items()}
        pool = stack.enter_context(ThreadPoolExecutor(readers, thread_name_prefix="samovar-read"))

        def fresh() -> Iterator[tuple[Item, bool]]:
            for item in work:
                yield item, not (have and all(item.key in keys for keys in have.values()))

        for item, reading in _ahead(fresh(), pool, needs_pixels):
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped on request")
            if reading is None:
                yield Outcome(item.key, "skipped")
                continue
            missing = [sink for name, sink in sinks.items() if item.key not in have[name]]
            yield _process(item, reading, segment, missing)


def _process(
    item: Item, reading: Future[Image], segment: Callable[[Item, Image], Masks], sinks: list[MaskSink]
) -> Outcome:
    try:
        image = reading.result()
        masks = segment(item, image)
    except Cancelled:
        raise
    except SamovarError as error:
        return Outcome(item.key, "failed", error=error)
    except Exception as error:  # noqa: BLE001  (one image of thousands must not end the job)
        wrapped = SamovarError(f"{item.key}: {type(error).__name__}: {error}")
        wrapped.__cause__ = error
        return Outcome(item.key, "failed", error=wrapped)
    # Outside the guard: a sink that cannot write (a full disk) will not write the next image either.
    for sink in sinks:
        sink.write(item.key, image, masks)
    return Outcome(item.key, "written", masks)


def _ahead(
    work: Iterator[tuple[Item, bool]], pool: ThreadPoolExecutor, needs_pixels: Callable[[Image], bool]
) -> Iterator[tuple[Item, Future[Image] | None]]:
    """Items in order, each with the reading of its image under way; bounded by images and by their pixels' bytes."""
    room = _Room(READ_AHEAD_BYTES)

    def read(item: Item) -> Image:
        image = Image(item.source, name=item.key)
        if needs_pixels(image) and room.take(item.key, image.width * image.height * 3):
            _ = image.pixels
        return image

    waiting: deque[tuple[Item, Future[Image] | None]] = deque()

    def next_out() -> Iterator[tuple[Item, Future[Image] | None]]:
        item, reading = waiting.popleft()
        yield item, reading
        room.give(item.key)

    for item, wanted in work:
        waiting.append((item, pool.submit(read, item) if wanted else None))
        if len(waiting) > READ_AHEAD_IMAGES:
            yield from next_out()
    while waiting:
        yield from next_out()


class _Room:
    """Bytes of pixels that may be held ahead of the model. What does not fit is decoded later, not waited for."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, key: str, count: int) -> bool:
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            self._held[key] = count
            return True

    def give(self, key: str) -> None:
        with self._lock:
            self._left += self._held.pop(key, 0)
