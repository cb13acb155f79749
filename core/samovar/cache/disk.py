"""The disk tier: one file an entry in a folder that every process and tool of one user shares.

    FOLDER/CACHEDIR.TAG                    tells backup programs to pass by
    FOLDER/v1/entries/ab/abcdef….emb       entries, by key
    FOLDER/v1/aliases.table                what pixels an encoded picture holds, see `samovar.cache.alias`
    FOLDER/v1/locks/abcdef….lock           held by whoever encodes that image
    FOLDER/v1/tmp/…                        files being written
    FOLDER/v1/ledger                       what is here and what it is worth, see `samovar.cache.ledger`

Readers take no lock. An entry appears by a rename and is never written to again, so a reader sees all of it or nothing.
Files are read rather than mapped: what was checked is then what is used, and a file that somebody truncates cannot take
the process down with a bus error. A process checks the tensors of each version of a file the first time it reads it.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from samovar.cache.counts import Counts
from samovar.cache.entry import Entry, EntryInfo
from samovar.cache.files import TemporaryFile, sweep
from samovar.cache.forks import on_fork
from samovar.cache.format import Damaged, Stamp, dump, parse_header, read
from samovar.cache.keys import SCHEMA
from samovar.cache.ledger import Ledger, Record
from samovar.cache.locks import FileLock, LeaseLock, make_lock
from samovar.cache.tiers import Dropped
from samovar.cache.worth import Row
from samovar.errors import CacheError

__all__ = ["DiskTier"]

FLUSH_SECONDS = 1.0
HEAD = 1 << 16
TRUSTED = 1 << 16
MOST = 20 << 30
"""Bytes of a disk tier whose size nobody set, at most."""

TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This folder is the embedding cache of samovar: everything in it can be made again. See https://bford.info/cachedir/
"""


class DiskTier:
    """Entries as files.

    Args:
        folder: of the cache; made when something is first put.
        max_bytes: of entries, in all; evicting goes a fiftieth below it, so as not to start again at once. None for 20
            GiB or a quarter of what would be free without this cache, whichever is less.
        durable: force every entry onto the disk before it appears. Without it an entry may be torn by a power cut,
            which its checksum finds.
    """

    name = "disk"
    recheck = True
    lasting = True
    on_drop: Callable[[Dropped], None] | None = None

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int | None, *, durable: bool = False) -> None:
        if max_bytes is not None and max_bytes < 0:
            raise CacheError(f"the disk tier's budget must be at least 0 bytes; got {max_bytes}")
        self.folder = Path(folder)
        self.root = self.folder / f"v{SCHEMA}"
        self.aliases = self.root / "aliases.table"
        self._entries = f"{self.root}{os.sep}entries{os.sep}"
        self._max_bytes = max_bytes
        self.durable = durable
        self.ledger = Ledger(self.root, self._scan)
        self._lock = threading.Lock()
        self._hits: dict[str, int] = {}
        self._trusted: dict[str, Stamp] = {}
        self._flushed = time.monotonic()
        on_fork(self._renew)

    # ----------------------------------------------------------------------------------------- the tier

    def get(self, key: str) -> Entry | None:
        """The entry, or None; a damaged one is dropped. Raises OSError."""
        try:
            entry, self._trusted[key] = read(self._name(key), key, self._trusted.get(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Damaged:
            self.drop_damaged(key)
            return None
        with self._lock:
            self._hits[key] = self._hits.get(key, 0) + 1
        if len(self._trusted) > TRUSTED:
            self.distrust()
        return entry

    def put(self, entry: Entry) -> list[Dropped]:
        """Publish `entry`; return what was dropped for it. One larger than the budget is declined. Raises OSError."""
        pieces = dump(entry)
        try:
            return self._publish(entry, pieces)
        except FileNotFoundError:  # the folder, or a part of it, has been deleted
            self._make_folders()
            return self._publish(entry, pieces)

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one. Raises OSError."""
        if not self._path(key).exists():
            return False
        with self.ledger.turn():
            return self._remove(key)

    def entries(self) -> Iterator[EntryInfo]:
        """What is here. Raises OSError."""
        self.ledger.follow()
        known = self.ledger.shelf.rows
        for info in self._scan():
            row = known.get(info.key)
            yield row.info if row is not None else info

    def contains(self, key: str) -> bool:
        """Whether there is a file for the entry, without reading it."""
        return self._path(key).exists()

    # ------------------------------------------------------------------------ what only the disk tier does

    @property
    def max_bytes(self) -> int:
        """The budget. One that nobody set is worked out once, from what is free and what is here. Raises OSError."""
        if self._max_bytes is None:
            with self.ledger.turn():
                self._max_bytes = min(MOST, (shutil.disk_usage(self.root).free + self.ledger.shelf.nbytes) // 4)
        return self._max_bytes

    def lock(self, key: str) -> FileLock | LeaseLock:
        """The lock of whoever encodes that image, in any process. Raises OSError."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return make_lock(folder / f"{key}.lock")

    def distrust(self) -> None:
        """Check every file again when it is next read, also those that have not changed since they were."""
        self._trusted = {}

    def flush_is_due(self) -> bool:
        """Whether a second has passed since the last `flush`."""
        return time.monotonic() - self._flushed > FLUSH_SECONDS

    def flush(self, counts: dict[tuple[str, str], Counts], *, wait: bool = True) -> bool:
        """Write down hits and `counts`; whether there was where to. Raises OSError, also for not waiting long enough.

        Args:
            wait: for other processes that are at it.
        """
        self._flushed = time.monotonic()
        if not self.ledger.path.exists():
            return False
        with self.ledger.turn(wait=wait):
            self.ledger.note([*self._pending_hits(), *(["sum", *place, *c.as_list()] for place, c in counts.items())])
        return True

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Dropped]:
        """Drop the least valuable entries until at most `limit` bytes stay, and those last used before a time.

        Args:
            unused_since: seconds since 1970; entries not used since then go whatever they are worth.

        Raises:
            OSError: the folder cannot be written to.
        """
        if not self.root.is_dir():
            return []
        with self.ledger.turn():
            for _, *hit in self._pending_hits():
                self.ledger.shelf.touch(*hit)
            self.ledger.reconcile()
            shelf = self.ledger.shelf
            old = [row for row in shelf.rows.values() if unused_since is not None and row.info.used < unused_since]
            dropped = self._unlink(old, "old")
            dropped += self._unlink([] if limit is None else shelf.victims(limit), "pruned")
            # Written only now that there is room for it, on a disk that was full.
            self.ledger.rewrite()
        return dropped

    def drop_damaged(self, key: str) -> bool:
        """Drop the entry if it is still damaged when nobody else can replace it; whether it was."""
        try:
            with self.ledger.turn():
                try:
                    read(self._path(key), key)
                except Damaged:
                    row = self.ledger.shelf.rows.get(key)
                    self._remove(key)
                    if self.on_drop is not None:
                        self.on_drop(Dropped(row.info if row else EntryInfo(key, "", 0, 0.0), "corrupt"))
                    return True
        except OSError:
            pass  # read-only, or gone meanwhile: it is not served either way
        return False

    def files(self) -> Iterator[tuple[str, int]]:
        """The key and the size of every file that by its name is an entry, good or damaged. Raises OSError."""
        for path in sorted(self.root.glob("entries/*/*.emb")):
            if path == self._path(path.stem):
                with suppress(FileNotFoundError):
                    yield path.stem, path.stat().st_size

    def tidy(self) -> int:
        """Remove what killed processes left behind, and make the ledger agree; how many files. Raises OSError."""
        if not self.root.is_dir():
            return 0
        with self.ledger.turn():
            self.ledger.reconcile()
        return sweep(self.root / "tmp") + sweep(self.root / "locks")

    # ------------------------------------------------------------------------------------------- inside

    def _publish(self, entry: Entry, pieces: list[bytes | memoryview]) -> list[Dropped]:
        path, size = self._path(entry.key), sum(map(len, pieces))
        if size > self.max_bytes:
            return []
        with TemporaryFile(self.root / "tmp") as temporary:
            temporary.write(pieces, durable=self.durable)
            with self.ledger.turn():
                self.ledger.note(self._pending_hits())
                dropped: list[Dropped] = []
                if self.ledger.shelf.nbytes + size > self.max_bytes:
                    limit = self.max_bytes - max(size, self.max_bytes // 50)
                    dropped = self._make_room(self.ledger.shelf.victims(limit, lambda key: key == entry.key))
                # Noted before it appears: killed in between, the ledger counts too much, never too little.
                self.ledger.note([["put", entry.key, entry.model, size, entry.cost, int(time.time())]])
                path.parent.mkdir(exist_ok=True)
                temporary.publish(path)
        return dropped

    def _make_room(self, rows: list[Row]) -> list[Dropped]:
        """Delete those entries to make room, and write that down; within the ledger's turn."""
        dropped = self._unlink(rows, "budget")
        self.ledger.note(record for row in rows for record in (["del", row.info.key], ["age", row.priority]))
        return dropped

    def _unlink(self, rows: list[Row], reason: str) -> list[Dropped]:
        """Delete those entries; within the ledger's turn. Killed before that is written down, too much is counted."""
        for row in rows:
            self._path(row.info.key).unlink(missing_ok=True)
            self.ledger.shelf.remove(row.info.key)
        return [Dropped(row.info, reason) for row in rows]

    def _remove(self, key: str) -> bool:
        """Delete one entry; within the ledger's turn."""
        path = self._path(key)
        there = path.exists()
        path.unlink(missing_ok=True)
        self.ledger.note([["del", key]])
        return there

    def _pending_hits(self) -> list[Record]:
        with self._lock:
            hits, self._hits = self._hits, {}
        now = int(time.time())
        return [["hit", key, count, now] for key, count in hits.items()]

    def _renew(self) -> None:
        self._lock, self._hits = threading.Lock(), {}  # the parent will write down its own

    def _make_folders(self) -> None:
        for name in ("entries", "locks", "tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        tag = self.folder / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(TAG)

    def _scan(self) -> Iterator[EntryInfo]:
        """Every file of an entry, by its header; what is no entry is left out."""
        for path in sorted(self.root.glob("entries/*/*.emb")):
            with suppress(FileNotFoundError, Damaged, KeyError, TypeError, ValueError):
                status = path.stat()
                with path.open("rb") as file:
                    header, _ = parse_header(file.read(HEAD))
                if header["key"] == path.stem:
                    yield EntryInfo(
                        path.stem, str(header["model"]), status.st_size, float(header["cost"]), 0, status.st_mtime
                    )

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        # Not by pathlib, which takes a tenth of the time of a hit.
        return f"{self._entries}{key[:2]}{os.sep}{key}.emb"
