"""The tiers from fast to slow: entries rise when they are used, and sink instead of being lost.

Each tier is behind a circuit breaker: it never fails a request, is measured, and declines what does not pay.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from samovar.cache.concurrency import WriteBehindQueue
from samovar.cache.entry import Entry
from samovar.cache.stats import Counter, Counts
from samovar.cache.tensors import Precision
from samovar.cache.tiers import (
    CacheTier,
    Contains,
    DeviceMemory,
    Evicted,
    PerDevice,
    ReportsEvictions,
    Serves,
    Stopwatch,
)
from samovar.embedding import Embedding
from samovar.events import EvictEvent

__all__ = ["ADMISSIONS", "Admission", "CircuitBreaker", "TieredStore", "log"]

Admission = Literal["measured", "always"]
ADMISSIONS: tuple[Admission, ...] = ("measured", "always")

T = TypeVar("T")

log = logging.getLogger("samovar.cache")

REST = 30.0
"""Seconds for which a tier is left alone after a failure."""


class Throughput:
    """Seconds a byte, as measured lately: an exponentially weighted mean. None until something was measured."""

    def __init__(self) -> None:
        self.per_byte: float | None = None

    def measure(self, seconds: float, nbytes: int) -> None:
        """Take in one measurement."""
        latest = seconds / max(nbytes, 1)
        self.per_byte = latest if self.per_byte is None else 0.8 * self.per_byte + 0.2 * latest

    def forget(self) -> None:
        """Trust the mean a little less, so that a spell of slowness does not last for ever."""
        if self.per_byte is not None:
            self.per_byte *= 0.99


class CircuitBreaker:
    """One tier, which is left alone for a while after it failed.

    The admission policy is its own, too: an entry is admitted when, used once more, it saves more than writing it and
    reading it back take on this machine. What that takes is measured on the tier itself; until it has been, everything
    is admitted, and always by a tier that holds entries ready for use.

    Args:
        tier: what is guarded.
        counter: where its hits, misses and failures are counted.
        on_evict: told of every entry that the tier evicted, with the tier's name.
    """

    def __init__(self, tier: CacheTier, counter: Counter, on_evict: Callable[[str, Evicted], object]) -> None:
        self.tier = tier
        self.name = tier.name
        self.traits = tier.traits
        self.device_memory = tier if isinstance(tier, DeviceMemory) else None
        self.trouble = ""
        """Why the last `put` failed; empty if it did not."""
        self.reading = Throughput()
        self.writing = Throughput()
        self._written = False
        self._contains = tier.contains if isinstance(tier, Contains) else None
        self._counter = counter
        self._on_evict = on_evict
        self._warned = threading.Event()
        self._resting = {"read": 0.0, "write": 0.0}
        if isinstance(tier, ReportsEvictions):
            tier.on_evict = lambda evicted: on_evict(self.name, evicted)

    def get(self, key: str, model: str, *, again: bool = False) -> Entry | None:
        """The entry, or None, also when the tier cannot say; a second look is not counted as another miss."""
        began = time.perf_counter()
        entry = self._try("read", model, lambda: self.tier.get(key))
        if entry is None:
            if not again:
                self._counter.miss(self.name, model)
            return None
        if not self.traits.native_dtype:
            self.reading.measure(time.perf_counter() - began, entry.nbytes)
        self._counter.hit(self.name, model, entry.cost)
        return entry

    def put(self, entry: Entry, *, always: bool = False) -> Sequence[Evicted]:
        """Offer `entry` to the tier, if it is admitted or `always`; what it evicted for it."""
        if not always and not self.admits(entry.cost, entry.nbytes):
            self.writing.forget()
            self.reading.forget()
            return ()
        began = time.perf_counter()
        evicted = self._try("write", entry.model, lambda: self.tier.put(entry))
        if evicted is None:
            return ()
        self.trouble = ""
        # It may have declined what exceeds its budget. One that cannot tell cheaply is taken at its word.
        if self.traits.async_writes or self._contains is None or self.holds(entry.key, entry.model):
            # The first write also imports, makes and opens what all later ones find: it would count as a slow tier.
            if self._written:
                self.writing.measure(time.perf_counter() - began, entry.nbytes)
            self._written = True
            self._counter.add(self.name, entry.model, Counts(puts=1))
        for one in evicted:
            self._on_evict(self.name, one)
        return evicted

    def holds(self, key: str, model: str) -> bool:
        """Whether the tier has the entry, by the cheapest way to tell."""
        contains = self._contains or (lambda key: self.tier.get(key) is not None)
        return bool(self._try("read", model, lambda: contains(key)))

    def admits(self, cost: float, nbytes: int) -> bool:
        """Whether an entry of that many bytes, `cost` seconds to make, is worth keeping here."""
        if self.traits.native_dtype or self.reading.per_byte is None or self.writing.per_byte is None:
            return True
        return cost > (self.reading.per_byte + self.writing.per_byte) * nbytes

    def _try(self, kind: str, model: str, work: Callable[[], T]) -> T | None:
        resting = self._resting[kind]
        if resting and time.monotonic() < resting:
            return None
        try:
            return work()
        # A tier of a plugin may raise anything, and MemoryError is as good a reason to go without: an embedding that
        # cannot be kept is still an answer.
        except Exception as error:  # noqa: BLE001
            self._resting[kind] = time.monotonic() + REST
            self._counter.add(self.name, model, Counts(failures=1))
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            if kind == "write":
                self.trouble = reason
            if not self._warned.is_set():
                self._warned.set()
                log.warning("the %s tier of the cache is not used for now: %s", self.name, reason)
            return None


@dataclass(frozen=True)
class _Serving:
    """The tiers that are of use to segmenters on one device.

    Attributes:
        tiers: from fast to slow.
        device: the one in that device's own memory, if there is one.
        persistent: those that outlast the process; all where none does.
    """

    tiers: tuple[CircuitBreaker, ...]
    device: CircuitBreaker | None
    persistent: tuple[CircuitBreaker, ...]


class TieredStore:
    """Looks entries up and keeps them, over all tiers.

    Args:
        tiers: from fast to slow.
        on_evict: told of every entry that leaves one of them.
    """

    def __init__(self, tiers: Sequence[CacheTier], on_evict: Callable[[EvictEvent], object] | None = None) -> None:
        self.counter = Counter()
        self._on_evict = on_evict
        self.breakers = tuple(CircuitBreaker(tier, self.counter, self.evicted) for tier in tiers)
        self._writing = WriteBehindQueue()
        self._sending = {one.name: WriteBehindQueue() for one in self.breakers if one.traits.async_writes}
        self._serving: dict[str, _Serving] = {}

    def find(self, key: str, model: str, device: str, *, again: bool = False) -> Entry | None:
        """The entry, ready for use, from the fastest tier that has it; it is put into the faster ones.

        Args:
            again: a second look, for what another thread or process may have put there since the first.
        """
        serving = self._serve(device)
        for index, tier in enumerate(serving.tiers):
            entry = None if again and tier.traits.async_writes else tier.get(key, model, again=again)
            if entry is None:
                continue
            ready = entry.dequantized() if serving.device is None else None
            for faster in serving.tiers[:index]:
                self._put(faster, entry, serving, ready)
            raised = serving.device is not None and serving.device in serving.tiers[:index]
            on_device = self._on_device(key, serving) if raised else None  # None also where that tier declined it
            return on_device or ready or entry.dequantized()
        return None

    def publish(self, entry: Entry, device: str, *, always: bool = False) -> Entry:
        """Put `entry` into every tier that admits it, or `always`; the entry, ready for use."""
        serving = self._serve(device)
        ready = entry.dequantized() if serving.device is None else None
        for tier in serving.tiers:
            self._put(tier, entry, serving, ready, always=always)
        return self._on_device(entry.key, serving) or ready or entry.dequantized()

    def adopt(
        self,
        embedding: Embedding,
        key: str,
        device: str,
        *,
        model: str,
        precision: Precision,
        cost: float,
        device_cost: Callable[[], float],
        always: bool,
    ) -> Entry | None:
        """As `publish`, for an embedding that is on a device with a tier of its own: the CPU waits for nothing.

        Args:
            device_cost: what it cost by the device's own clock; asked for once the device is done.

        Returns:
            None where it must be published from the CPU.
        """
        serving = self._serve(device)
        memory = serving.device.device_memory if serving.device is not None else None
        adopted = memory and memory.adopt(embedding, key, model=model, precision=precision, cost=cost)
        if not adopted or serving.device is None:
            return None
        entry, fetch = adopted
        self._put(serving.device, entry, serving, entry, always=always)

        def write_through() -> None:
            fetched = fetch()
            stored = replace(fetched, cost=max(cost, device_cost()))
            for tier in serving.tiers:
                if tier is not serving.device:
                    self._put(tier, stored, serving, always=always)

        self._writing.put(entry.nbytes, write_through)
        return self._on_device(key, serving) or entry

    def holds(self, key: str, model: str, device: str, *, in_memory: bool = False) -> bool:
        """Whether any tier has the entry, or any of those that have entries `in_memory`, ready for use."""
        return any(
            tier.holds(key, model) for tier in self._serve(device).tiers if tier.traits.native_dtype or not in_memory
        )

    def keeps(self, key: str, model: str, device: str) -> bool:
        """Whether a tier has the entry that outlasts the process; any tier where none does."""
        return any(tier.holds(key, model) for tier in self._serve(device).persistent)

    def trouble(self, device: str) -> str:
        """Why none of those tiers could take the last entry that it was given; empty if one could."""
        troubles = [tier.trouble for tier in self._serve(device).persistent]
        return troubles[0] if troubles and all(troubles) else ""

    def stopwatch(self, device: str) -> Stopwatch | None:
        """Started now, on the caller's stream; None on a CPU, whose calls take as long as the work."""
        found = self._serve(device).device
        return None if found is None or found.device_memory is None else found.device_memory.stopwatch()

    def follow(self, key: str, device: str) -> None:
        """Let the caller's stream wait for an embedding that another thread has made on another stream."""
        self._on_device(key, self._serve(device))

    def when_written(self, work: Callable[[], object]) -> None:
        """Do `work` once what was adopted so far is in the slower tiers; at once, if it is."""
        if self._writing.idle:
            work()
        else:
            self._writing.put(0, work)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything is where it is to be kept; whether it is."""
        return self._writing.wait(seconds) and all(queue.wait(seconds) for queue in self._sending.values())

    def evicted(self, tier: str, evicted: Evicted) -> None:
        """Count and announce what a tier evicted."""
        info = evicted.info
        if evicted.reason == "corrupt":
            self.counter.add(tier, info.model, Counts(damaged=1))
        elif evicted.reason == "budget":
            self.counter.add(tier, info.model, Counts(evictions=1))
        if self._on_evict is not None:
            self._on_evict(EvictEvent(tier=tier, key=info.key, nbytes=info.nbytes, reason=evicted.reason))

    def _serve(self, device: str) -> _Serving:
        found = self._serving.get(device)
        if found is None:
            found = self._serving[device] = self._choose(device)
        return found

    def _choose(self, device: str) -> _Serving:
        chosen = []
        for breaker in self.breakers:
            if isinstance(breaker.tier, PerDevice):
                tier = breaker.tier.on(device)
                chosen += [] if tier is None else [CircuitBreaker(tier, self.counter, self.evicted)]
            elif not isinstance(breaker.tier, Serves) or breaker.tier.serves(device):
                chosen.append(breaker)
        special = next((one for one in chosen if one.device_memory is not None), None)
        # Host memory holds what a device without a tier of its own would otherwise fetch from the disk.
        tiers = tuple(one for one in chosen if special is None or not one.traits.host_fallback)
        return _Serving(tiers, special, tuple(one for one in tiers if one.traits.persistent) or tiers)

    @staticmethod
    def _on_device(key: str, serving: _Serving) -> Entry | None:
        """The copy of an entry in the device's own memory, if there is such a tier and it took it."""
        return None if serving.device is None else serving.device.tier.get(key)

    def _put(
        self,
        tier: CircuitBreaker,
        entry: Entry,
        serving: _Serving,
        ready: Entry | None = None,
        *,
        always: bool = False,
    ) -> None:
        """Offer `entry` to one of the tiers; `ready`: the same, dequantized, where that is at hand."""
        if tier.traits.async_writes:
            self._sending[tier.name].put(entry.nbytes, lambda: tier.put(entry, always=always))
            return
        if tier.traits.native_dtype and tier.device_memory is None:
            entry = ready or entry.dequantized()
        for evicted in tier.put(entry, always=always):
            if evicted.entry is not None and evicted.reason == "budget":
                self._sink(evicted.entry, serving, serving.tiers[serving.tiers.index(tier) + 1 :])

    def _sink(self, entry: Entry, serving: _Serving, slower: tuple[CircuitBreaker, ...]) -> None:
        """Keep what a tier had no room for in the next one, unless a slower one has it already."""
        if slower and not any(tier.holds(entry.key, entry.model) for tier in slower):
            self._put(slower[0], entry.to_host(), serving)
