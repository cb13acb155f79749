"""The ledger of a folder: which entries it holds, what they are worth, and what became of every lookup.

One text file that every process appends to under a lock, one checksummed record a line. Each process follows it and so
knows the folder's bytes without ever listing it. The ledger only decides what to evict and what statistics say; whether
an entry is there, and whether it is good, is asked of the entry's own file. A ledger that is lost or damaged is made
anew from the folder.

    ["put", key, model, bytes, cost, used]           an entry is about to be published
    ["row", key, model, bytes, cost, used, hits, p]  an entry, in a compacted ledger; p its priority
    ["hit", key, hits, used]                         it was asked for
    ["del", key]                                     it is gone
    ["age", priority]                                one of that priority was evicted
    ["new", name]                                    the first line: a random name for this file
    ["sum", tier, model, counts…]                    to be added to the counts of that tier and model
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samovar.cache.counts import Counts
from samovar.cache.descriptors import open_descriptor, read_at, write_all
from samovar.cache.entry import EntryInfo
from samovar.cache.forks import on_fork
from samovar.cache.locks import Lock, make_lock, wait_for
from samovar.cache.worth import Shelf

__all__ = ["Ledger"]

Record = list[Any]

PATIENCE = 5.0
"""Seconds to wait for another process's turn; one that holds the lock for longer is stopped or hung."""

ROW_BYTES = 200
SLACK_BYTES = 1 << 18


class Ledger:
    """One process's view of a folder's ledger.

    Args:
        root: the folder that holds the ledger.
        scan: lists the entries that are really there, when the ledger cannot be relied on.
    """

    def __init__(self, root: Path, scan: Callable[[], Iterable[EntryInfo]]) -> None:
        self.path = root / "ledger"
        self._scan = scan
        self._thread = threading.RLock()
        self._lock: Lock | None = None
        self._identity: tuple[int, int, bytes] | None = None
        self._offset = 0
        self._torn = False
        self._doubtful = False
        self.shelf = Shelf()
        self.counts: dict[tuple[str, str], Counts] = {}
        on_fork(self._renew)

    @contextmanager
    def turn(self, *, wait: bool = True) -> Iterator[None]:
        """Be the only one, of all threads and processes, to change the folder; `shelf` is up to date within.

        Args:
            wait: for another process's turn to end, for so long; otherwise only take a turn that is free.

        Raises:
            OSError: the folder cannot be written to, or another process does not let go (TimeoutError).
        """
        with self._thread:
            # Kept: a lease is taken over by whoever has watched it, and a turn waits for less than a lease lasts.
            lock = self._lock = self._lock or make_lock(self.path.with_name("ledger.lock"))
            seconds = PATIENCE if wait else 0.0
            if not wait_for(lock, seconds):
                raise TimeoutError(f"another process has held {lock.path} for more than {seconds:g} s")
            try:
                self.follow()
                if self._identity is None or self._doubtful or self._torn:
                    self.reconcile()
                yield
            finally:
                lock.release()

    def note(self, records: Iterable[Record]) -> None:
        """Append records. Only within `turn`. Raises OSError."""
        lines = [_line(record) for record in records]
        if not lines:
            return
        fd = open_descriptor(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        end = os.fstat(fd).st_size
        try:
            write_all(fd, b"".join(lines))
        except OSError:
            os.ftruncate(fd, end)  # half a record would make every process look through the whole folder
            raise
        finally:
            os.close(fd)
        self.follow()
        if self._offset > SLACK_BYTES + 3 * ROW_BYTES * len(self.shelf):
            self.rewrite()

    def follow(self) -> None:
        """Read what has been appended since the last call. Needs no turn: a record that is half-written is left."""
        with self._thread:
            try:
                fd = open_descriptor(self.path, os.O_RDONLY)
            except FileNotFoundError:
                self._reset(None)
                return
            try:
                status = os.fstat(fd)
                # The first line has a random name in it: inode numbers are used again.
                identity = (status.st_dev, status.st_ino, read_at(fd, 48, 0))
                if identity != self._identity or status.st_size < self._offset:
                    self._reset(identity)
                data = read_at(fd, max(status.st_size - self._offset, 0), self._offset)
            finally:
                os.close(fd)
            whole = data.rfind(b"\n") + 1
            self._doubtful |= b'["new",' not in identity[2]
            self._torn = whole < len(data)
            self._offset += whole
            for line in data[:whole].splitlines():
                self._read(line)

    def reconcile(self) -> None:
        """Make the ledger agree with the folder, keeping what is known of what is there. Only within `turn`."""
        known = self.shelf.rows
        fresh = Shelf()
        fresh.age = self.shelf.age
        for info in self._scan():
            row = known.get(info.key)
            if row is not None and row.info.nbytes == info.nbytes:
                fresh.put(row.info, row.priority)
            else:
                fresh.put(info)
        self.shelf = fresh
        self.rewrite()

    def _renew(self) -> None:
        self._thread, self._lock = threading.RLock(), None
        self._reset(None)

    def _reset(self, identity: tuple[int, int, bytes] | None) -> None:
        self._identity, self._offset, self._torn, self._doubtful = identity, 0, False, False
        self.shelf, self.counts = Shelf(), {}

    def rewrite(self) -> None:
        """Replace the ledger by the shortest one that says what `shelf` and `counts` say. Only within `turn`.

        Where there is no room to write it, the next turn tries again: a full disk must not keep anybody from deleting.
        """
        records: list[Record] = [["new", os.urandom(12).hex()], ["age", self.shelf.age]]
        for row in self.shelf.rows.values():
            info = row.info
            records.append(["row", info.key, info.model, info.nbytes, info.cost, info.used, info.hits, row.priority])
        records += [["sum", *place, *counts.as_list()] for place, counts in self.counts.items()]
        fresh = self.path.with_name("ledger.new")
        try:
            fresh.write_bytes(b"".join(map(_line, records)))
            fresh.replace(self.path)
        except OSError:
            fresh.unlink(missing_ok=True)
            self._doubtful = True
            return
        self._reset(None)
        self.follow()

    def _read(self, line: bytes) -> None:
        try:
            if not line:
                return
            if int(line[:8], 16) != zlib.crc32(line[9:]):
                raise ValueError("a damaged line")
            self._apply(json.loads(line[9:]))
        except (ValueError, TypeError, IndexError, KeyError):
            self._doubtful = True

    def _apply(self, record: Record) -> None:
        kind, *rest = record
        if kind == "put":
            key, model, nbytes, cost, used = rest
            self.shelf.put(EntryInfo(key, model, nbytes, cost, 0, used))
        elif kind == "row":
            key, model, nbytes, cost, used, hits, priority = rest
            self.shelf.put(EntryInfo(key, model, nbytes, cost, hits, used), priority)
        elif kind == "hit":
            self.shelf.touch(*rest)
        elif kind == "del":
            self.shelf.remove(*rest)
        elif kind == "age":
            self.shelf.grow_old(*rest)
        elif kind == "sum":
            tier, model, *values = rest
            self.counts[tier, model] = self.counts.get((tier, model), Counts()) + Counts.of_list(values)


def _line(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)
