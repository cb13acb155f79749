"""Locks between processes that a killed holder cannot keep.

`FileLock` is a lock of the kernel: it ends with its holder, however that dies. Where the file system has none,
`LeaseLock` takes its place: a file that its holder touches again and again, and that anybody may take over once it has
not been touched for a while, by their own monotonic clock: clocks that jump or differ between machines do no harm.

Nothing that is served depends on a lock being exclusive. If one fails, an image is encoded twice, or the ledger is
made anew from the folder.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from samovar.cache.descriptors import open_descriptor

__all__ = ["FileLock", "LeaseLock", "Lock", "lock_descriptor", "make_lock", "wait_for"]

fcntl: Any
msvcrt: Any
try:
    import fcntl

    msvcrt = None
except ImportError:  # Windows
    import msvcrt

    fcntl = None

LEASE = 60.0
"""Seconds after which a `LeaseLock` that nobody touches is up for grabs."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, getattr(errno, "ENOTSUP", errno.EOPNOTSUPP)}


class Lock(Protocol):
    """An exclusive lock named by a file. Not for two threads at once: each makes its own over the same path."""

    path: Path

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Raises OSError where the folder cannot be used."""

    def release(self, *, remove: bool = False) -> None:
        """Let go, if held; `remove` also deletes the file. Never raises."""


class FileLock:
    """An exclusive lock on a file, held by the kernel for this process (flock, or msvcrt.locking on Windows)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Raises OSError where the folder cannot be used."""
        while True:
            fd = open_descriptor(self.path, os.O_RDWR | os.O_CREAT)
            try:
                free = lock_descriptor(fd)
                # Its last holder may have removed the file between our open and our lock: then it locks nothing.
                current = free and _same_file(self.path, fd)
            except BaseException:
                os.close(fd)
                raise
            if current:
                self._fd = fd
                _held.add(self)
                return True
            os.close(fd)
            if not free:
                return False

    def release(self, *, remove: bool = False) -> None:
        """Let go, if held; `remove` deletes the file first, while nobody else can hold it."""
        fd, self._fd = self._fd, None
        _held.discard(self)
        if fd is None:
            return
        if remove and fcntl is not None:
            with suppress(OSError):  # the folder went read-only or away: a file left over is harmless
                self.path.unlink()
        os.close(fd)

    def forget(self) -> None:
        """Close without letting go: what a forked child does with its parent's lock, which lives on in the parent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class LeaseLock:
    """An exclusive lock by the existence of a file, for file systems without locks of their own."""

    def __init__(self, path: Path, lease: float = LEASE) -> None:
        self.path = path
        self.lease = lease
        self._seen: tuple[object, float] | None = None
        self._stop: threading.Event | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free, or if its holder has not touched it while we watched for a whole lease."""
        try:
            fd = open_descriptor(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            self._watch()
            return False
        os.close(fd)
        self._stop = threading.Event()
        threading.Thread(target=self._beat, args=(self._stop,), name="samovar-lease", daemon=True).start()
        return True

    def release(self, *, remove: bool = False) -> None:
        """Let go, if held."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop.set()
            with suppress(OSError):
                self.path.unlink()

    def _watch(self) -> None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._seen = None
            return
        sign = (status.st_ino, status.st_mtime_ns)
        now = time.monotonic()
        if self._seen is None or self._seen[0] != sign:
            self._seen = (sign, now)
        elif now - self._seen[1] > self.lease:
            self._seen = None
            self.path.unlink(missing_ok=True)

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(self.lease / 4):
            with suppress(OSError):
                os.utime(self.path)


def make_lock(path: Path) -> FileLock | LeaseLock:
    """A lock of the best kind that the file system of `path` has. Raises OSError where its folder cannot be used."""
    kind = _kinds.get(path.parent)
    if kind is None:
        kind = _kinds[path.parent] = _probe(path.parent)
    return kind(path)


def _probe(folder: Path) -> type[FileLock] | type[LeaseLock]:
    lock = FileLock(folder / f"probe-{os.getpid()}-{threading.get_ident()}")
    try:
        lock.try_acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        lock.path.unlink(missing_ok=True)
        return LeaseLock
    finally:
        lock.release(remove=True)
    return FileLock


def wait_for(lock: Lock, seconds: float) -> bool:
    """Wait up to `seconds` for `lock`; whether it was taken. Raises OSError."""
    deadline = time.monotonic() + seconds
    pause = 0.0005
    while not lock.try_acquire():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return True


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()
_kinds: dict[Path, type[FileLock] | type[LeaseLock]] = {}


def lock_descriptor(fd: int) -> bool:
    """Lock an open file, until it is closed, if it is free; whether it was. Raises OSError."""
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _same_file(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _forget_inherited() -> None:
    """In a forked child: a descriptor kept open here would hold the lock after the parent that took it has died."""
    for lock in list(_held):
        lock.forget()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
