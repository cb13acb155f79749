"""The index of a disk tier's folder: one SQLite database that all processes share.

    entries     what the folder holds, and what each entry is worth
    aliases     what pixels an encoded image holds, so that a hit never decodes it
    counts      hits, misses, evictions … by tier and model
    age         of the folder, for the GDSF priorities, see `samovar.cache.tiers.GdsfPolicy`

It only decides what to evict, saves decoding, and says what statistics say. Whether an entry is there, and whether it
is good, is asked of the entry's own file. So a hit needs no write here, and a database that is lost, damaged or locked
costs nobody an answer: it is made anew, from the files, or gone without. For the same reason it is never synced.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from samovar.cache.concurrency import on_fork
from samovar.cache.entry import EntryInfo, fields_digest
from samovar.cache.stats import Counts

__all__ = ["AliasTable", "Index"]

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds to wait for another process's transaction; one that takes longer is stopped or hung."""

BUSY = 0.02
"""Seconds that SQLite itself waits. Between such spells readers of this process get their turn."""

ALIASES = 500_000
"""Images whose pixels are known by their files, at most; the oldest are forgotten."""

REMEMBERED = 65536
"""Aliases in this process's memory, at most."""

VERSION = 1

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS entries(
    key TEXT PRIMARY KEY, model TEXT, nbytes INTEGER, cost REAL, hits INTEGER, used REAL, priority REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS worst ON entries(priority, nbytes);
CREATE TABLE IF NOT EXISTS aliases(id INTEGER PRIMARY KEY, key BLOB UNIQUE, pixels BLOB, digest BLOB);
CREATE TABLE IF NOT EXISTS counts(
    tier TEXT, model TEXT, {", ".join(f"{name} REAL" for name in Counts.names())}, PRIMARY KEY (tier, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS age(id INTEGER PRIMARY KEY, priority REAL);
INSERT OR IGNORE INTO age VALUES (0, 0);
PRAGMA user_version = {VERSION};
"""

# A cost of nothing would make everything equal; a microsecond keeps frequency and size in play.
_WORTH = "(SELECT priority FROM age) + ({hits} + 1) * max({cost}, 1e-6) / max({nbytes}, 1)"
_NOTE = f"INSERT OR REPLACE INTO entries SELECT ?1, ?2, ?3, ?4, 0, ?5, {_WORTH.format(hits=0, cost='?4', nbytes='?3')}"
_USE = (
    "UPDATE entries SET hits = hits + ?2, used = max(used, ?3), "
    f"priority = {_WORTH.format(hits='hits + ?2', cost='cost', nbytes='nbytes')} WHERE key = ?1"
)
_COUNT = (
    f"INSERT INTO counts VALUES ({', '.join('?' * (2 + len(Counts.names())))}) ON CONFLICT(tier, model) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in Counts.names())
)


class Index:
    """One process's way into the database. Any number of threads may use it.

    Args:
        path: of the database; made when something is first written. Its folder must be there by then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = _Connection()
        self._gathering = threading.Lock()
        self._uses: dict[str, int] = {}
        self._aliases: dict[str, str] = {}
        weakref.finalize(self, self._connection.close)
        on_fork(self._renew, before=self._before_fork, parent=self._after_fork)

    # ----------------------------------------------------------------------------- gathered, for the next write

    def use(self, key: str) -> None:
        """Note, with the next write, that an entry was asked for."""
        with self._gathering:
            self._uses[key] = self._uses.get(key, 0) + 1

    def learn_alias(self, key: str, pixels: str) -> None:
        """Note, with the next write, what pixels an encoded image holds."""
        with self._gathering:
            if len(self._aliases) < REMEMBERED:  # which nobody writes down, in a folder that cannot be written to
                self._aliases[key] = pixels

    @property
    def generation(self) -> int:
        """Another number whenever the database was opened, and so may be another one."""
        return self._connection.generation

    def flush(self, counts: Mapping[tuple[str, str], Counts], *, wait: bool = True) -> None:
        """Write down what was gathered, and add `counts` by tier and model.

        Args:
            wait: for other processes that are writing.

        Raises:
            OSError: the folder cannot be written to, or another process does not let go (TimeoutError).
        """
        rows = [(*place, *one.as_list()) for place, one in counts.items()]
        self.write(lambda db: db.executemany(_COUNT, rows), wait=wait)

    # -------------------------------------------------------------------------------------------------- reading

    def alias(self, key: str) -> str | None:
        """What pixels that image holds, if it is known. SQLite checks no contents, so each row has a checksum."""
        pending = self._aliases.get(key)
        if pending is not None:
            return pending
        with suppress(OSError):
            for pixels, digest in self.read("SELECT pixels, digest FROM aliases WHERE key = ?", bytes.fromhex(key)):
                if isinstance(pixels, bytes) and digest == _alias_check(key, pixels.hex()):
                    return pixels.hex()
        return None

    def infos(self) -> dict[str, tuple[EntryInfo, float]]:
        """What is noted of each entry, and its priority. Raises OSError."""
        rows = self.read("SELECT key, model, nbytes, cost, hits, used, priority FROM entries")
        return {row[0]: (EntryInfo(*row[:6]), row[6]) for row in rows}

    def counts(self) -> dict[tuple[str, str], Counts]:
        """What all processes have counted. Raises OSError."""
        return {(row[0], row[1]): Counts.of_list(row[2:]) for row in self.read("SELECT * FROM counts")}

    def info(self, key: str) -> EntryInfo | None:
        """What is noted of an entry, or None. Raises OSError."""
        rows = self.read("SELECT key, model, nbytes, cost, hits, used FROM entries WHERE key = ?", key)
        return EntryInfo(*rows[0]) if rows else None

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a query gives; none where there is no database. Raises OSError."""
        with self._lock:
            try:
                return self._connection.open(self.path, reading=True).execute(query, values).fetchall()
            except FileNotFoundError:
                return []
            except sqlite3.Error as error:
                if _is_damaged(error):
                    self._discard()
                    return []
                raise OSError(f"{self.path} cannot be read: {error}") from error

    # -------------------------------------------------------------------------------------------------- writing

    def write(self, work: Callable[[sqlite3.Connection], T], *, wait: bool = True) -> T:
        """Do `work` in a transaction, alone among all threads and processes, after what was gathered is written down.

        A damaged database is made anew, and the work done once more on that.

        Args:
            wait: for other processes that are writing, `PATIENCE` at most.

        Raises:
            OSError: the folder cannot be written to, or another process does not let go (TimeoutError).
        """
        seconds = PATIENCE if wait else 0.0
        with self._gathering:
            uses, self._uses = self._uses, {}
            aliases, self._aliases = self._aliases, {}
        try:
            try:
                return self._transact(work, uses, aliases, seconds)
            except sqlite3.DatabaseError as error:
                if not _is_damaged(error):
                    raise
                self._discard()
                return self._transact(work, uses, aliases, seconds)
        except BaseException as error:
            with self._gathering:
                self._aliases = aliases | self._aliases
                for key, count in uses.items():
                    self._uses[key] = self._uses.get(key, 0) + count
            if isinstance(error, sqlite3.Error):
                raise OSError(f"{self.path} cannot be written to: {error}") from error
            raise

    def note(self, db: sqlite3.Connection, info: EntryInfo) -> None:
        """Within a write: there is such an entry, or will be in a moment."""
        db.execute(_NOTE, (info.key, info.model, info.nbytes, info.cost, info.used))

    def forget(self, db: sqlite3.Connection, keys: Iterable[str], *, evicted: bool = False) -> None:
        """Within a write: those entries are gone; `evicted`: to make room, so the age rises to their priorities."""
        for key in keys:
            if evicted:
                db.execute(
                    "UPDATE age SET priority = max(priority, ifnull((SELECT priority FROM entries WHERE key = ?), 0))",
                    (key,),
                )
            db.execute("DELETE FROM entries WHERE key = ?", (key,))

    def victims(self, db: sqlite3.Connection, most: int, limit: int, *, spare: str) -> list[EntryInfo]:
        """Within a write: if there are more than `most` bytes, what to evict so that `limit` stay; never `spare`."""
        nbytes = db.execute("SELECT total(nbytes) FROM entries").fetchone()[0]
        chosen: list[EntryInfo] = []
        if nbytes > most:
            worst = "SELECT key, model, nbytes, cost, hits, used FROM entries WHERE key != ? ORDER BY priority"
            for row in db.execute(worst, (spare,)):
                if nbytes <= limit:
                    break
                chosen.append(EntryInfo(*row))
                nbytes -= row[2]
        return chosen

    def reconcile(
        self, db: sqlite3.Connection, sizes: Mapping[str, int], look: Callable[[str], EntryInfo | None]
    ) -> None:
        """Within a write: make the entries agree with what is in the folder, keeping what is known of what is there.

        Args:
            sizes: the bytes of each file that by its name is an entry.
            look: what such a file says of itself; None for one that is no entry.
        """
        known = dict(db.execute("SELECT key, nbytes FROM entries").fetchall())
        self.forget(db, [key for key in known if key not in sizes])
        for key, nbytes in sizes.items():
            if known.get(key) != nbytes:
                info = look(key)
                if info is not None:
                    self.note(db, info)
                else:
                    self.forget(db, [key])

    # --------------------------------------------------------------------------------------------------- inside

    def _transact(
        self, work: Callable[[sqlite3.Connection], T], uses: dict[str, int], aliases: dict[str, str], seconds: float
    ) -> T:
        db = self._begin(seconds)
        try:
            now = time.time()
            db.executemany(_USE, [(key, count, now) for key, count in uses.items()])
            if aliases:
                rows = [(bytes.fromhex(key), bytes.fromhex(it), _alias_check(key, it)) for key, it in aliases.items()]
                db.executemany("INSERT OR REPLACE INTO aliases(key, pixels, digest) VALUES (?, ?, ?)", rows)
                # A row that is written anew gets a new, highest number: the lowest are the oldest.
                db.execute("DELETE FROM aliases WHERE id <= (SELECT max(id) FROM aliases) - ?", (ALIASES,))
            done = work(db)
            db.execute("COMMIT")
            return done
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        finally:
            self._lock.release()

    def _begin(self, seconds: float) -> sqlite3.Connection:
        """Start a transaction; on return this thread has the lock. Raises sqlite3.Error, OSError."""
        deadline = time.monotonic() + seconds
        while True:
            self._lock.acquire()
            try:
                db = self._connection.open(self.path)
                db.execute("BEGIN IMMEDIATE")
                return db
            except BaseException as error:
                self._lock.release()
                if not _is_busy(error):
                    raise
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process has held {self.path} for more than {seconds:g} s")
            time.sleep(0.001)

    def _discard(self) -> None:
        """Remove a damaged database; whoever writes next makes another."""
        with self._lock:
            self._connection.close()
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    self.path.with_name(self.path.name + suffix).unlink()

    def _before_fork(self) -> None:
        # A connection must not be carried over a fork, nor closed in the child; one that is in use for longer is
        # another thread's, which the child does not have: there it is left alone.
        self._closed = self._lock.acquire(timeout=1.0)
        if self._closed:
            self._connection.close()

    def _after_fork(self) -> None:
        if self._closed:
            self._lock.release()

    def _renew(self) -> None:
        if not self._closed:
            _abandoned.append(self._connection)
            self._connection = _Connection()
        self._lock, self._gathering = threading.RLock(), threading.Lock()
        self._uses, self._aliases = {}, {}  # the parent will write down its own


_abandoned: list[_Connection] = []
_generations = itertools.count(1)


class _Connection:
    """An open database, opened again when its file is another."""

    def __init__(self) -> None:
        self.generation = 0
        self._db: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._read_only = False

    def open(self, path: Path, *, reading: bool = False) -> sqlite3.Connection:
        """Open for writing, if it is not, or, while `reading`, as well as may be. Raises sqlite3.Error, OSError."""
        try:
            status = path.stat()
            identity = (status.st_dev, status.st_ino)
        except FileNotFoundError:
            if reading or not path.parent.is_dir():
                raise
            identity = (0, 0)
        if self._db is not None and identity == self._identity and (reading or not self._read_only):
            return self._db
        self.close()
        try:
            self._db, self._read_only = _opened(path), False
        except sqlite3.OperationalError as error:
            if not reading or _is_busy(error):
                raise
            # In a folder that cannot be written to, SQLite reads nothing but what it is told will never change.
            uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
            self._db, self._read_only = sqlite3.connect(uri, uri=True, check_same_thread=False), True
        status = path.stat()
        self._identity, self.generation = (status.st_dev, status.st_ino), next(_generations)
        return self._db

    def close(self) -> None:
        """Close it, if it is open."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = OFF")
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            db.execute("PRAGMA journal_mode = WAL")  # where the file system has no shared memory, it stays as it is
            db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def _is_damaged(error: BaseException) -> bool:
    """Whether the file is not a database, or no longer; `OperationalError` and the like have reasons around it."""
    missing = isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such")
    return type(error) is sqlite3.DatabaseError or missing


def _alias_check(key: str, pixels: str) -> bytes:
    return bytes.fromhex(fields_digest(b"alias", key.encode(), pixels.encode())[:32])


class AliasTable:
    """Alias key → digest of the pixels, in memory and, given an index, for all processes.

    Args:
        index: of a disk tier's folder; None for this process only.
    """

    def __init__(self, index: Index | None = None) -> None:
        self._index = index
        self._renew()
        on_fork(self._renew)

    def get(self, key: str) -> str | None:
        """The digest of the pixels, or None; a damaged record is as none."""
        with self._lock:
            known = self._recent.get(key)
            if known is not None:
                self._recent.move_to_end(key)
                return known
        found = self._index.alias(key) if self._index is not None else None
        if found is not None:
            self._remember(key, found)
        return found

    def put(self, key: str, pixels: str) -> None:
        """Remember it; other processes know it after the next write to the index."""
        self._remember(key, pixels)
        if self._index is not None:
            self._index.learn_alias(key, pixels)

    def forget(self) -> None:
        """Forget what is in memory."""
        with self._lock:
            self._recent.clear()

    def _renew(self) -> None:
        self._lock, self._recent = threading.Lock(), OrderedDict[str, str]()

    def _remember(self, key: str, pixels: str) -> None:
        with self._lock:
            self._recent[key] = pixels
            self._recent.move_to_end(key)
            while len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
