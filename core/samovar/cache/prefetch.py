"""Work done ahead in the background: a few images at most, the newest request first to be kept."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from samovar.cache.forks import on_fork

__all__ = ["Ahead"]

T = TypeVar("T")

_LAST = 60.0
"""Seconds that the process waits at its end for the item at hand."""


class Ahead(Generic[T]):
    """Runs `work` on queued items, in one thread that lives while there is something to do.

    A hint must never pile up: when more than `bound` items wait, the oldest are forgotten. What `work` raises is
    dropped: whoever asks for the item itself will meet the error, with nobody else to hear of it before.
    """

    def __init__(self, work: Callable[[T], object], bound: int = 16) -> None:
        self._work = work
        self._waiting: deque[T] = deque(maxlen=bound)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        on_fork(self._renew)
        # The thread is a daemon: killed inside a model's native code at exit, it would take the process down with it.
        atexit.register(_finish, weakref.ref(self))

    def put(self, items: list[T]) -> None:
        """Queue `items`, first one first."""
        with self._changed:
            if self._closed:
                return
            self._waiting.extend(items)
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="samovar-prefetch", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the process is ending, or may have no more threads: it was a hint
                    self._thread = None
                    self._waiting.clear()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything queued is done or forgotten; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, seconds)

    def close(self) -> None:
        """Forget what waits; what is being worked on is finished."""
        with self._changed:
            self._closed = True
            self._waiting.clear()

    def _renew(self) -> None:
        self._changed, self._thread = threading.Condition(), None
        self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._thread = None
                    self._changed.notify_all()
                    return
                item = self._waiting.popleft()
            with suppress(Exception):
                self._work(item)


def _finish(ahead: weakref.ref[Ahead[T]]) -> None:
    """Forget what waits, and let what is being worked on end."""
    found = ahead()
    if found is not None:
        found.close()
        found.wait(_LAST)
