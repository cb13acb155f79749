"""Encoded pictures kept for a while, so that a client sends or the server fetches each of them once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from samovar.image import Image

__all__ = ["ImageStore"]


@dataclass(frozen=True)
class _Kept:
    image: Image
    size: int
    since: float


class ImageStore:
    """The most recently used pictures by key, within a budget of bytes and of age.

    Args:
        budget: bytes of encoded files in all; the pixels are never kept.
        seconds: how long one is good for, because what a URL shows may change; None: for ever.
    """

    def __init__(self, budget: int, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget, self.seconds, self._clock = budget, seconds, clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def put(self, key: str, image: Image, size: int) -> None:
        """Keep the file of `image`, of `size` bytes. Raises ImageError, and keeps nothing, if it is no picture."""
        fresh = image.without_pixels()
        with self._lock:
            self._drop(key)
            if size <= self.budget:
                self._kept[key] = _Kept(fresh, size, self._clock())
                self._size += size
            while self._size > self.budget:
                self._drop(next(iter(self._kept)))

    def get(self, key: str) -> Image | None:
        """The picture, if it is still there and young enough."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            if self.seconds is not None and self._clock() - kept.since > self.seconds:
                self._drop(key)
                return None
            self._kept.move_to_end(key)
        return kept.image.without_pixels()

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= kept.size


Pictures = ImageStore
