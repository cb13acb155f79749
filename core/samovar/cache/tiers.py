"""What a cache tier is, and the simplest one: this process's memory.

Plugins implement `CacheTier` and register a `CacheTierSpec`. What a tier can do beyond its four methods, it says: in
its `traits`, and by having the methods of the small protocols below.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from samovar.cache.concurrency import on_fork
from samovar.cache.entry import Entry, EntryInfo
from samovar.cache.tensors import Precision
from samovar.embedding import Embedding
from samovar.errors import CacheError

__all__ = [
    "CacheTier",
    "Contains",
    "DeviceMemory",
    "Evicted",
    "Evicts",
    "GdsfPolicy",
    "MemoryTier",
    "PerDevice",
    "ReportsEvictions",
    "Serves",
    "TierTraits",
    "check_budget",
]


@dataclass(frozen=True)
class TierTraits:
    """What a tier is like.

    Attributes:
        native_dtype: it is given tensors in the encoder's dtype, ready for use, instead of the stored form.
        async_writes: it is slow to write to: it is written to in the background, and not asked twice in a lookup.
        shared: what another process puts there shows up here.
        persistent: what is there outlasts the process: `samovar cache warm` fills it.
        host_fallback: it is of use only where the device that a segmenter is on has no tier of its own.
    """

    native_dtype: bool = False
    async_writes: bool = False
    shared: bool = False
    persistent: bool = False
    host_fallback: bool = False


@dataclass(frozen=True)
class Evicted:
    """An entry that has left a tier.

    Attributes:
        info: what it was.
        reason: "budget", "corrupt", "pruned" …
        entry: the entry itself where the tier still had it in memory, so that a slower tier can take it; else None.
    """

    info: EntryInfo
    reason: str
    entry: Entry | None = None


@runtime_checkable
class CacheTier(Protocol):
    """A place that keeps entries. Any number of threads, and of processes where it is shared, may call it at once.

    A tier never answers with anything but what was put under that key: an entry that is damaged is dropped and reported
    as absent. A tier that cannot work (full, read-only, unreachable) raises OSError; the cache then goes on without it.
    It bounds its own bytes. `open(argument) -> CacheTier` is what a `CacheTierSpec` names.
    """

    @property
    def name(self) -> str:
        """What statistics call it; the name of its spec."""

    @property
    def traits(self) -> TierTraits:
        """What it is like."""

    def get(self, key: str) -> Entry | None:
        """The entry, or None when it is not here. Raises OSError."""

    def put(self, entry: Entry) -> Sequence[Evicted]:
        """Keep `entry`, replacing one of the same key; return what was evicted for it. Raises OSError.

        The tier may decline, for one that exceeds its budget: then a `get` says None.
        """

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one. Raises OSError."""

    def entries(self) -> Iterator[EntryInfo]:
        """What is here, in no particular order. Raises OSError."""


@runtime_checkable
class Contains(Protocol):
    """A tier that tells whether an entry is there without fetching it."""

    def contains(self, key: str) -> bool:
        """Whether the entry is there; not counted as a use. Raises OSError."""


@runtime_checkable
class Evicts(Protocol):
    """A tier that takes part in `samovar cache prune` and `clear`."""

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        """Drop the least valuable entries until at most `limit` bytes stay, and those last used before a time.

        Args:
            limit: in bytes; None for no limit.
            unused_since: seconds since 1970; entries not used since then go whatever they are worth.

        Raises:
            OSError: it cannot be written to.
        """


@runtime_checkable
class Serves(Protocol):
    """A tier that is of use to segmenters on some devices only."""

    def serves(self, device: str) -> bool:
        """Whether it is to a segmenter on `device`: "cpu", "cuda:1" …"""


@runtime_checkable
class PerDevice(Protocol):
    """A tier that is another on each device."""

    def on(self, device: str) -> CacheTier | None:
        """The one on `device`; None where it has none there."""


@runtime_checkable
class ReportsEvictions(Protocol):
    """A tier that drops entries in calls that do not return them, such as a damaged one in `get`."""

    on_evict: Callable[[Evicted], object] | None
    """The cache puts a function here, to be told of them."""


class Stopwatch(Protocol):
    """How long a device is at what it is given until `stop`; calls return before that."""

    def stop(self) -> None:
        """Nothing of what follows counts. Waits for nothing."""

    def seconds(self) -> float:
        """Waits until the device has got there."""


@runtime_checkable
class DeviceMemory(Protocol):
    """A tier in the memory of the device that a segmenter is on: it takes entries as stored, and dequantizes there."""

    def stopwatch(self) -> Stopwatch:
        """Started now, on the caller's stream."""

    def adopt(
        self, embedding: Embedding, key: str, *, model: str, precision: Precision, cost: float
    ) -> tuple[Entry, Callable[[], Entry]] | None:
        """A copy made on the device, and what fetches it to the CPU in stored form; None where only the CPU can."""


def check_budget(tier: str, max_bytes: int | None) -> None:
    """Raise CacheError for a tier's budget below nothing."""
    if max_bytes is not None and max_bytes < 0:
        raise CacheError(f"the {tier} tier's budget must be at least 0 bytes; got {max_bytes}")


# --------------------------------------------------------------------------------------------- eviction


class _Row:
    """An entry that a policy knows of, and its priority."""

    __slots__ = ("hits", "info", "priority", "used")

    def __init__(self, info: EntryInfo) -> None:
        self.info, self.hits, self.used, self.priority = info, info.hits, info.used, 0.0


class GdsfPolicy:
    """Which entries a tier holds, their bytes, and which go first: GreedyDual-Size-Frequency (Cherkasova 1998).

    An entry's priority is the policy's age when it was last used, plus its uses × seconds to encode it again ÷ its
    bytes. The lowest goes first, and the age rises to the priority of what went: so a large, cheap or rarely used entry
    leaves before a small, dear or popular one, and one that was popular long ago leaves in the end too. No clock is
    involved. Not thread-safe: its owner locks.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self.age = 0.0
        self._rows: dict[str, _Row] = {}

    def put(self, info: EntryInfo) -> None:
        """Note an entry, replacing what was noted of it."""
        self.remove(info.key)
        self._rows[info.key] = self._ranked(_Row(info))
        self.nbytes += info.nbytes

    def touch(self, key: str, used: float) -> None:
        """Note a use of an entry at that time; unknown keys are passed over."""
        row = self._rows.get(key)
        if row is not None:
            row.hits += 1
            row.used = max(used, row.used)
            self._ranked(row)

    def remove(self, key: str) -> None:
        """Forget an entry."""
        row = self._rows.pop(key, None)
        if row is not None:
            self.nbytes -= row.info.nbytes

    def infos(self) -> list[EntryInfo]:
        """Every entry."""
        return [
            EntryInfo(row.info.key, row.info.model, row.info.nbytes, row.info.cost, row.hits, row.used)
            for row in self._rows.values()
        ]

    def victims(self, limit: int, spare: Callable[[str], bool] = lambda key: False) -> list[str]:
        """The entries to evict, worst first, so that at most `limit` bytes stay; those that `spare` names are kept."""
        excess = self.nbytes - limit
        chosen: list[str] = []
        if excess <= 0:
            return chosen
        for key, row in sorted(self._rows.items(), key=lambda pair: pair[1].priority):
            if not spare(key):
                chosen.append(key)
                excess -= row.info.nbytes
                if excess <= 0:
                    break
        return chosen

    def evict(self, key: str) -> None:
        """Forget an entry that makes room: the age rises to its priority."""
        self.age = max(self.age, self._rows[key].priority)
        self.remove(key)

    def _ranked(self, row: _Row) -> _Row:
        # A cost of nothing would make everything equal; a microsecond keeps frequency and size in play.
        row.priority = self.age + (row.hits + 1) * max(row.info.cost, 1e-6) / max(row.info.nbytes, 1)
        return row


# ----------------------------------------------------------------------------------------------- memory


class MemoryTier:
    """Entries in this process's memory, dequantized so that a hit costs no arithmetic.

    An entry that somebody still holds is never evicted to make room: its memory would not be freed. Every hit gives the
    same `Embedding`, so that a segmenter may remember what it worked out for one.

    Args:
        max_bytes: of tensors, in all.
    """

    name = "memory"
    traits = TierTraits(native_dtype=True, host_fallback=True)

    def __init__(self, max_bytes: int) -> None:
        check_budget(self.name, max_bytes)
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._forget()
        on_fork(self._renew)

    def get(self, key: str) -> Entry | None:
        """The entry, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._policy.touch(key, time.time())
                self._embeddings[key] = entry.unpack()
            return entry

    def put(self, entry: Entry) -> list[Evicted]:
        """Keep `entry`; return what was evicted for it. One larger than the budget is declined."""
        entry = entry.dequantized()
        if entry.nbytes > self.max_bytes:
            return []
        with self._lock:
            self._entries[entry.key] = entry
            self._policy.put(entry.info)
            victims = self._policy.victims(self.max_bytes, lambda key: key == entry.key or self._is_held(key))
            return [self._evict(key, "budget") for key in victims]

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one."""
        with self._lock:
            there = key in self._entries
            if there:
                self._evict(key, "deleted")
            return there

    def contains(self, key: str) -> bool:
        """Whether the entry is here, without counting it as a use."""
        return key in self._entries

    def entries(self) -> Iterator[EntryInfo]:
        """What is here."""
        with self._lock:
            return iter(self._policy.infos())

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        """Drop the least valuable entries until at most `limit` bytes stay, and those last used before a time."""
        with self._lock:
            infos = self._policy.infos() if unused_since is not None else []
            old = [self._evict(info.key, "old") for info in infos if info.used < (unused_since or 0)]
            return old + [self._evict(key, "pruned") for key in ([] if limit is None else self._policy.victims(limit))]

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

    def _evict(self, key: str, reason: str) -> Evicted:
        entry = self._entries.pop(key)
        self._embeddings.pop(key, None)
        if reason == "budget":
            self._policy.evict(key)
        else:
            self._policy.remove(key)
        return Evicted(entry.info, reason, entry)

    def _forget(self) -> None:
        self._policy, self._entries = GdsfPolicy(), dict[str, Entry]()
        self._embeddings: dict[str, Any] = {}

    def _renew(self) -> None:
        if self._lock.locked():  # forked in the middle of a change by another thread
            self._forget()
        self._lock = threading.Lock()
