"""Work done behind the caller's back, in order, with a bound on the bytes that wait for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from samovar.cache.forks import on_fork

__all__ = ["Behind"]

log = logging.getLogger("samovar.cache")


class Behind:
    """Runs work in one thread that lives while there is some; in the caller's, where there can be no other.

    What work raises is logged, the first time.

    Args:
        max_bytes: that may wait; who brings more waits himself.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, Callable[[], object]]] = deque()
        self._nbytes = 0
        self._thread: threading.Thread | None = None
        self._warned = False
        on_fork(self._renew)

    def put(self, nbytes: int, work: Callable[[], object]) -> None:
        """Queue `work`, which holds on to `nbytes` of memory until it is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._nbytes == 0 or self._nbytes + nbytes <= self._max_bytes)
            self._waiting.append((nbytes, work))
            self._nbytes += nbytes
            if self._thread is not None:
                return
            # Not a daemon: what is queued is finished before the process ends.
            self._thread = threading.Thread(target=self._run, name="samovar-behind")
            try:
                self._thread.start()
                return
            except RuntimeError:  # the process is ending, or may have no more threads
                self._thread = threading.current_thread()
        self._run()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being done."""
        return self._thread is None

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything is done; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._thread = None
                    self._changed.notify_all()
                    return
                nbytes, work = self._waiting.popleft()
            try:
                work()
            # A device may run out of memory here. The thread must outlive it: others wait for what is queued behind.
            except Exception as error:  # noqa: BLE001
                if not self._warned:
                    self._warned = True
                    log.warning("an embedding is not kept by the slower tiers: %s: %s", type(error).__name__, error)
            finally:
                del work
                with self._changed:
                    self._nbytes -= nbytes
                    self._changed.notify_all()

    def _renew(self) -> None:
        self._changed, self._thread, self._nbytes = threading.Condition(), None, 0
        self._waiting.clear()
