"""The CUDA tier: embeddings on the device, ready for the decoder, with what the decoder prepares once an image."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from samovar.cache.entry import Entry, EntryInfo
from samovar.cache.foreign import is_torch, torch
from samovar.cache.memory import MemoryTier
from samovar.cache.parts import Part
from samovar.cache.precision import Narrowed
from samovar.cache.tiers import Dropped
from samovar.cache.upload import Uploader
from samovar.embedding import Embedding
from samovar.fingerprint import Fingerprint

__all__ = ["CudaTier", "DeviceTier"]

Prepare = Callable[[Embedding], Embedding]


class DeviceTier:
    """Entries in the memory of one device, bounded by bytes. Declines entries with anything but torch tensors.

    Args:
        device: "cuda:0", say; "cpu" runs the same code on the CPU.
        max_bytes: of tensors, those derived included; None for an eighth of the device's memory.
    """

    name = "cuda"
    live = True
    recheck = True

    def __init__(self, device: str, max_bytes: int | None = None) -> None:
        if max_bytes is None:
            max_bytes = torch().cuda.get_device_properties(device).total_memory // 8
        self.device = device
        self.max_bytes = max_bytes
        self.uploader = Uploader(device)
        self._segmenters: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._kept = MemoryTier(max_bytes)
        self._lock = threading.Lock()
        self._events: dict[str, Any] = {}

    def get(self, key: str) -> Entry | None:
        """The entry, to be used on the current stream, or None."""
        with self._lock:
            entry, event = self._kept.get(key), self._events.get(key)
        if entry is not None:
            self.uploader.streams.follow(event, *(part.stored.values for part in entry.parts))
        return entry

    def put(self, entry: Entry) -> Sequence[Dropped]:
        """Copy `entry` to the device, if it is not there, and prepare it; return what was dropped for it."""
        if any(part.library != "torch" for part in entry.parts):
            return ()
        on_device, event = self.uploader.upload(entry)
        segmenter = self._segmenters.get(entry.fingerprint)
        if segmenter is not None:
            with self.uploader.streams.aside():
                on_device = with_derived(on_device, segmenter.prepare)
                event = self.uploader.streams.mark()
        with self._lock:  # an entry's event must be its own, whoever else puts the same
            self._events[entry.key] = event
            return self._left(self._kept.put(on_device))

    def prepare_with(self, segmenter: Any) -> None:
        """Keep with each entry that this segmenter makes what its `prepare` derives, if it has one."""
        if hasattr(segmenter, "prepare"):
            self._segmenters[Fingerprint.of(segmenter.fingerprint).encoder] = segmenter

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one."""
        with self._lock:
            self._events.pop(key, None)
            return self._kept.delete(key)

    def contains(self, key: str) -> bool:
        """Whether the entry is here, without counting it as a use."""
        return self._kept.contains(key)

    def entries(self) -> Iterator[EntryInfo]:
        """What is here."""
        return self._kept.entries()

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Dropped]:
        """Drop the least valuable entries until at most `limit` bytes stay, and those last used before a time."""
        with self._lock:
            return self._left(self._kept.evict(limit, unused_since=unused_since))

    def _left(self, dropped: list[Dropped]) -> list[Dropped]:
        """Entries that have left, to be used on the current stream by whoever keeps them elsewhere."""
        for one in dropped:
            tensors = () if one.entry is None else tuple(part.stored.values for part in one.entry.parts)
            self.uploader.streams.follow(self._events.pop(one.info.key, None), *tensors)
        return dropped


class CudaTier:
    """A `DeviceTier` on each device that segmenters use, made when the first embedding gets there.

    Args:
        max_bytes: on each device; None for an eighth of its memory.
        kind: of device.
    """

    name = "cuda"
    live = True

    def __init__(self, max_bytes: int | None = None, kind: str = "cuda") -> None:
        self.max_bytes = max_bytes
        self._kind = kind
        self._lock = threading.Lock()
        self._devices: dict[str, DeviceTier] = {}

    def on(self, device: str) -> DeviceTier | None:
        """The tier on `device`; None if that is another kind of device."""
        kind, _, index = device.partition(":")
        if kind != self._kind:
            return None
        name = device if index or kind != "cuda" else f"cuda:{torch().cuda.current_device()}"
        with self._lock:
            if name not in self._devices:
                self._devices[name] = DeviceTier(name, self.max_bytes)
            return self._devices[name]

    def get(self, key: str) -> Entry | None:
        """The entry on whichever device has it, or None."""
        return next((entry for tier in self._tiers() if (entry := tier.get(key)) is not None), None)

    def put(self, entry: Entry) -> Sequence[Dropped]:
        """Declined: which device should it be?"""
        return ()

    def delete(self, key: str) -> bool:
        """Drop the entry on every device; whether there was one."""
        return sum(tier.delete(key) for tier in self._tiers()) > 0

    def entries(self) -> Iterator[EntryInfo]:
        """What is on all devices."""
        return (info for tier in self._tiers() for info in tier.entries())

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Dropped]:
        """As `DeviceTier.evict`, on each device."""
        return [one for tier in self._tiers() for one in tier.evict(limit, unused_since=unused_since)]

    def _tiers(self) -> list[DeviceTier]:
        with self._lock:
            return list(self._devices.values())


def with_derived(entry: Entry, prepare: Prepare) -> Entry:
    """`entry` with the tensors that `prepare` derives from it, which no slower tier will keep."""
    prepared = prepare(entry.unpack())
    known = {part.name for part in entry.parts}
    extra = [
        Part(name, "torch", None, tuple(tensor.shape), Narrowed("raw", tensor), derived=True)
        for name, tensor in prepared.tensors.items()
        if name in prepared.derived and name not in known and is_torch(tensor)
    ]
    return replace(entry, parts=(*entry.parts, *extra))
