"""The pinned tier: entries in stored form in page-locked memory, from where a CUDA device fetches them by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.cache.entry import Entry, EntryInfo
from samovar.cache.parts import Part, aligned
from samovar.cache.slab import Block, Slab
from samovar.cache.tiers import Dropped
from samovar.cache.worth import Shelf

__all__ = ["PinnedTier"]


class PinnedTier:
    """Entries in a slab, bounded by its size. A block whose arrays somebody still uses is never written to again.

    Args:
        max_bytes: of the slab.
        kind: of device that it feeds.
    """

    name = "pinned"
    behind = True  # locking pages takes the system a while, a whole slab of them half a second

    def __init__(self, max_bytes: int, kind: str = "cuda") -> None:
        self.max_bytes = max_bytes
        self._kind = kind
        self._slab = Slab(max_bytes)
        self._lock = threading.Lock()
        self._shelf = Shelf()
        self._entries: dict[str, Entry] = {}

    def serves(self, device: str) -> bool:
        """Only a segmenter on that kind of device."""
        return device.partition(":")[0] == self._kind

    def get(self, key: str) -> Entry | None:
        """The entry, its arrays views of the slab, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._shelf.touch(key, 1, time.time())
            return entry

    def put(self, entry: Entry) -> list[Dropped]:
        """Copy `entry` into the slab; return what was dropped for it. One that does not fit is declined."""
        if entry.nbytes > self.max_bytes:
            return []
        dropped: list[Dropped] = []
        with self._lock:
            if entry.key in self._entries:
                self._drop(entry.key, "replaced")
            block = self._slab.take(entry.nbytes, lambda memory: _fill(memory, entry))
            while block is None and self._entries:
                # Room must be in one piece: the least valuable go until it is.
                for row in self._shelf.victims(max(self._shelf.nbytes - entry.nbytes, 0)) or self._shelf.victims(0):
                    self._shelf.grow_old(row.priority)
                    dropped.append(self._drop(row.info.key, "budget"))
                block = self._slab.take(entry.nbytes, lambda memory: _fill(memory, entry))
            if block is not None:
                self._entries[entry.key] = _over(block, entry)
                self._shelf.put(entry.info)
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

    def _drop(self, key: str, reason: str) -> Dropped:
        entry = self._entries.pop(key)
        info = self._shelf.remove(key) or entry.info
        # Without the entry: it would keep the block from being used again, which is what it was dropped for. A slower
        # tier has it already, since everything is written through.
        return Dropped(info, reason)


def _fill(memory: NDArray[np.uint8], entry: Entry) -> None:
    start = 0
    for part in entry.parts:
        for array in part.arrays():
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            memory[start : start + flat.size] = flat
            start += aligned(flat.size)


def _over(block: Block, entry: Entry) -> Entry:
    """`entry` with its arrays over the block that it was copied into."""
    memory, start = block.array(), 0
    parts = []

    def view(array: NDArray[Any]) -> NDArray[Any]:
        nonlocal start
        found = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        start += aligned(array.nbytes)
        return found

    for part in entry.parts:
        values = view(part.stored.values)
        scales = None if part.stored.scales is None else view(part.stored.scales)
        parts.append(_with(part, values, scales))
    return replace(entry, parts=tuple(parts))


def _with(part: Part, values: NDArray[Any], scales: NDArray[Any] | None) -> Part:
    return replace(part, stored=replace(part.stored, values=values, scales=scales))
