"""Threads and forks: one encode however many threads want it, work in the background, and what a child makes anew."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from samovar.embedding import Embedding

__all__ = ["PrefetchQueue", "SingleFlight", "WriteBehindQueue", "forked", "on_fork"]

log = logging.getLogger("samovar.cache")

Work = Callable[[], object]

LAST = 60.0
"""Seconds that the process waits at its end for what is being prefetched."""

# -------------------------------------------------------------------------------------------------- forks

_forked = False
_numbers = itertools.count()  # each change of a dictionary is one step, whatever other threads do meanwhile
_hooks: dict[str, dict[int, weakref.WeakMethod[Callable[[], None]]]] = {"before": {}, "parent": {}, "child": {}}


def on_fork(
    child: Callable[[], None], *, before: Callable[[], None] | None = None, parent: Callable[[], None] | None = None
) -> None:
    """Call these bound methods around every fork from now on, as long as their object lives.

    Args:
        child: in the child: makes anew what threads of the parent, which are not there, held or were doing.
        before: in the parent, before it forks.
        parent: in the parent, after it has.
    """
    for when, method in (("before", before), ("parent", parent), ("child", child)):
        if method is not None:
            _hook(_hooks[when], next(_numbers), method)


def _hook(hooks: dict[int, weakref.WeakMethod[Callable[[], None]]], number: int, method: Callable[[], None]) -> None:
    hooks[number] = weakref.WeakMethod(method, lambda reference: hooks.pop(number, None))


def forked() -> bool:
    """Whether this process is a forked child, in which threads of libraries may be missing."""
    return _forked


def _call(when: str) -> None:
    global _forked  # noqa: PLW0603
    _forked = _forked or when == "child"
    for reference in list(_hooks[when].values()):
        method = reference()
        if method is not None:
            method()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _call("before"),
        after_in_parent=lambda: _call("parent"),
        after_in_child=lambda: _call("child"),
    )


# ------------------------------------------------------------------------------------------ single flight


class SingleFlight:
    """Of all threads of a process that miss the same entry, one makes it and the others wait.

    A future gives the embedding, or None when whoever was making it failed: the caller may then try.
    """

    def __init__(self) -> None:
        self._renew()
        on_fork(self._renew)

    def _renew(self) -> None:
        self._lock, self._flying = threading.Lock(), dict[str, Future[Embedding | None]]()

    def claim(self, keys: Iterable[str]) -> tuple[list[str], dict[str, Future[Embedding | None]]]:
        """Those of `keys` that the caller now has to make and land, and those that other threads are making."""
        mine, theirs = [], {}
        with self._lock:
            for key in keys:
                if key in self._flying:
                    theirs[key] = self._flying[key]
                else:
                    mine.append(key)
                    self._flying[key] = Future()
        return mine, theirs

    def land(self, key: str, embedding: Embedding | None) -> None:
        """Finish a claimed flight."""
        with self._lock:
            flight = self._flying.pop(key, None)
        if flight is not None:
            flight.set_result(embedding)


# --------------------------------------------------------------------------------------------- background


class _Queue:
    """Work done in order, in one thread that lives while there is some.

    Args:
        name: of the thread.
        daemon: whether the process may end without waiting for it.
    """

    def __init__(self, name: str, *, daemon: bool) -> None:
        self._name, self._daemon = name, daemon
        self._renew()
        on_fork(self._renew)

    def _renew(self) -> None:
        self._changed, self._waiting = threading.Condition(), deque[tuple[int, Work]]()
        self._nbytes = 0
        self._thread: threading.Thread | None = None

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything is done or forgotten; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, seconds)

    def _start(self) -> bool:
        """See to it that there is a thread; whether there is. With the lock held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=self._daemon)
            try:
                self._thread.start()
            except RuntimeError:  # the process is ending, or may have no more threads
                self._thread = None
        return self._thread is not None

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
                self._failed(error)
            finally:
                del work
                with self._changed:
                    self._nbytes -= nbytes
                    self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        """What becomes of what work raised."""


class WriteBehindQueue(_Queue):
    """Does work in the background; in the caller's thread, where there can be no other. The process waits for it.

    What work raises is logged, the first time.

    Args:
        max_bytes: that may wait; who brings more waits himself.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self._max_bytes = max_bytes
        self._warned = False
        super().__init__("samovar-behind", daemon=False)

    def put(self, nbytes: int, work: Work) -> None:
        """Queue `work`, which holds on to `nbytes` of memory until it is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._nbytes == 0 or self._nbytes + nbytes <= self._max_bytes)
            self._waiting.append((nbytes, work))
            self._nbytes += nbytes
            if self._start():
                return
            self._thread = threading.current_thread()
        self._run()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being done."""
        return self._thread is None

    def _failed(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("an embedding is not kept by the slower tiers: %s: %s", type(error).__name__, error)


class PrefetchQueue(_Queue):
    """Works on hints. They must never pile up: when more than `bound` wait, the oldest are forgotten.

    What the work raises is dropped: whoever asks for the same in earnest will meet the error, with nobody else to hear
    of it before.
    """

    def __init__(self, bound: int = 16) -> None:
        self._bound = bound
        self._closed = False
        # A daemon: killed inside a model's native code at exit, it would take the process down with it.
        super().__init__("samovar-prefetch", daemon=True)
        atexit.register(_finish, weakref.ref(self))

    def put(self, works: list[Work]) -> None:
        """Queue `works`, first one first."""
        with self._changed:
            if self._closed:
                return
            self._waiting.extend((0, work) for work in works)
            while len(self._waiting) > self._bound:
                self._waiting.popleft()
            if self._waiting and not self._start():
                self._waiting.clear()  # they were hints

    def close(self) -> None:
        """Forget what waits; what is being worked on is finished."""
        with self._changed:
            self._closed = True
            self._waiting.clear()


def _finish(queue: weakref.ref[PrefetchQueue]) -> None:
    """Forget what waits, and let what is being worked on end."""
    found = queue()
    if found is not None:
        found.close()
        found.wait(LAST)
