"""Reading images ahead of whoever uses them: in threads, in order, bounded in images and in bytes of pixels."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from samovar.image import Image

__all__ = ["read_ahead"]

PIXEL_BYTES = 256 << 20

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(
    work: Iterable[T],
    read: Callable[[T, Callable[[Image], None]], R],
    *,
    readers: int,
    depth: int = 8,
    wanted: Callable[[T], bool] = lambda item: True,
) -> Generator[tuple[T, Future[R] | None], None, None]:
    """The items of `work` in order, each with the reading of its image under way.

    Args:
        read: opens an item's image, in one of `readers` threads. It is given a function that decodes an image, unless
            256 MiB of pixels wait already: then that is left to whoever uses them first.
        depth: how many items are read ahead.
        wanted: whether an item is to be read at all; None comes with one that is not.
    """
    room = _Room(PIXEL_BYTES)
    waiting: deque[tuple[T, Future[R] | None, list[int]]] = deque()

    def reading(item: T, taken: list[int]) -> R:
        def decode(image: Image) -> None:
            nbytes = image.width * image.height * 3
            if room.take(nbytes):
                taken.append(nbytes)
                _ = image.pixels

        return read(item, decode)

    def first_out() -> Iterator[tuple[T, Future[R] | None]]:
        item, future, taken = waiting.popleft()
        yield item, future
        room.give(sum(taken))

    with ThreadPoolExecutor(readers, thread_name_prefix="samovar-read") as pool:
        try:
            for item in work:
                taken: list[int] = []
                waiting.append((item, pool.submit(reading, item, taken) if wanted(item) else None, taken))
                if len(waiting) > depth:
                    yield from first_out()
            while waiting:
                yield from first_out()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Room:
    """Bytes that may be held at once."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        with self._lock:
            fits = count <= self._left
            self._left -= count if fits else 0
            return fits

    def give(self, count: int) -> None:
        with self._lock:
            self._left += count
