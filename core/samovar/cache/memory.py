"""The memory tier: embeddings of this process, ready to use, bounded by bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from samovar.cache.entry import Entry, EntryInfo
from samovar.cache.forks import on_fork
from samovar.cache.tiers import Dropped
from samovar.cache.worth import Shelf
from samovar.embedding import Embedding
from samovar.errors import CacheError

__all__ = ["MemoryTier"]


class MemoryTier:
    """Entries in this process's memory, widened so that a hit costs no arithmetic.

    An entry that somebody still holds is never dropped to make room: its memory would not be freed. Every hit gives the
    same `Embedding`, so that a segmenter may remember what it worked out for one.

    Args:
        max_bytes: of tensors, in all.
    """

    name = "memory"
    live = True
    recheck = True
    fallback = True

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise CacheError(f"the memory tier's budget must be at least 0 bytes; got {max_bytes}")
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._shelf = Shelf()
        self._entries: dict[str, Entry] = {}
        self._embeddings: dict[str, Embedding] = {}
        on_fork(self._renew)

    def get(self, key: str) -> Entry | None:
        """The entry, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._shelf.touch(key, 1, time.time())
                self._embeddings[key] = entry.unpack()
            return entry

    def put(self, entry: Entry) -> list[Dropped]:
        """Keep `entry`; return what was dropped for it. One larger than the budget is declined."""
        entry = entry.widened()
        if entry.nbytes > self.max_bytes:
            return []
        with self._lock:
            self._entries[entry.key] = entry
            self._shelf.put(entry.info)
            dropped = []
            for row in self._shelf.victims(self.max_bytes, lambda key: key == entry.key or self._is_held(key)):
                self._shelf.grow_old(row.priority)
                dropped.append(self._drop(row.info.key, "budget"))
            return dropped

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one."""
        with self._lock:
            if key not in self._entries:
                return False
            self._drop(key, "deleted")
            return True

    def contains(self, key: str) -> bool:
        """Whether the entry is here, without counting it as a use."""
        return key in self._entries

    def entries(self) -> Iterator[EntryInfo]:
        """What is here."""
        with self._lock:
            infos = [row.info for row in self._shelf.rows.values()]
        return iter(infos)

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Dropped]:
        """Drop the least valuable entries until at most `limit` bytes stay, and those last used before a time."""
        with self._lock:
            rows = list(self._shelf.rows.values())
            old = [row for row in rows if unused_since is not None and row.info.used < unused_since]
            dropped = [self._drop(row.info.key, "old") for row in old]
            excess = [] if limit is None else self._shelf.victims(limit)
            return dropped + [self._drop(row.info.key, "pruned") for row in excess]

    def _is_held(self, key: str) -> bool:
        """Whether anybody but this tier holds the embedding."""
        embedding = self._embeddings.pop(key, None)
        if embedding is None:
            return self._entries[key].in_use
        del embedding
        held = self._entries[key].in_use
        if held:
            self._embeddings[key] = self._entries[key].unpack()
        return held

    def _renew(self) -> None:
        if self._lock.locked():  # forked in the middle of a change by another thread
            self._shelf, self._entries, self._embeddings = Shelf(), {}, {}
        self._lock = threading.Lock()

    def _drop(self, key: str, reason: str) -> Dropped:
        entry = self._entries.pop(key)
        self._embeddings.pop(key, None)
        info = self._shelf.remove(key) or entry.info
        return Dropped(info, reason, entry)
