"""`CacheTier`: the interface of a place that keeps entries. Plugins implement it and register a `CacheTierSpec`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from samovar.cache.entry import Entry, EntryInfo

__all__ = ["CacheTier", "Dropped"]


@dataclass(frozen=True)
class Dropped:
    """An entry that has left a tier.

    Attributes:
        info: what it was.
        reason: "budget", "corrupt", "cleared" …
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

    def get(self, key: str) -> Entry | None:
        """The entry, or None when it is not here. Raises OSError."""

    def put(self, entry: Entry) -> Sequence[Dropped]:
        """Keep `entry`, replacing one of the same key; return what was dropped for it. Raises OSError.

        The tier may decline, for one that exceeds its budget: then a `get` says None.
        """

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one. Raises OSError."""

    def entries(self) -> Iterator[EntryInfo]:
        """What is here, in no particular order. Raises OSError."""
