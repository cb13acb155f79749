"""`Guard`: a tier as the cache uses it: it never fails a request, is measured, and declines what does not pay."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from samovar.cache.counts import Counter, Counts
from samovar.cache.entry import Entry
from samovar.cache.tiers import CacheTier, Dropped

__all__ = ["PLACEMENTS", "Guard", "Placement"]

Placement = Literal["measured", "always"]
PLACEMENTS: tuple[Placement, ...] = ("measured", "always")

T = TypeVar("T")

log = logging.getLogger("samovar.cache")

REST = 30.0
"""Seconds for which a tier is left alone after a failure."""


class Pace:
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


class Guard:
    """One tier behind a fence.

    An entry pays when, used once more, it saves more than writing it and reading it back take on this machine. What
    that takes is measured on the tier itself; until it has been, everything pays.

    Args:
        tier: what is guarded.
        counter: where its hits, misses and failures are counted.
        on_drop: told of every entry that the tier dropped.
    """

    def __init__(self, tier: CacheTier, counter: Counter, on_drop: Callable[[Guard, Dropped], None]) -> None:
        self.tier = tier
        self.name = tier.name
        self.live = bool(getattr(tier, "live", False))
        self.behind = bool(getattr(tier, "behind", False))
        self.recheck = bool(getattr(tier, "recheck", False))
        self.lasting = bool(getattr(tier, "lasting", False))
        self.trouble = ""
        """Why the last `put` failed; empty if it did not."""
        self.reading = Pace()
        self.writing = Pace()
        self._counter = counter
        self._on_drop = on_drop
        self._warned = threading.Event()
        self._resting = {"read": 0.0, "write": 0.0}
        if hasattr(tier, "on_drop"):
            tier.on_drop = lambda dropped: on_drop(self, dropped)

    def serves(self, device: str) -> bool:
        """Whether the tier is of use to a segmenter on that device."""
        serves: Callable[[str], bool] | None = getattr(self.tier, "serves", None)
        return serves is None or serves(device)

    def get(self, key: str, model: str, *, again: bool = False) -> Entry | None:
        """The entry, or None, also when the tier cannot say; a second look is not counted as another miss."""
        began = time.perf_counter()
        entry = self._try("read", model, lambda: self.tier.get(key))
        if entry is None:
            if not again:
                self._counter.add(self.name, model, Counts(misses=1))
            return None
        self.reading.measure(time.perf_counter() - began, entry.nbytes)
        self._counter.add(self.name, model, Counts(hits=1, saved=entry.cost))
        return entry

    def put(self, entry: Entry, *, always: bool = False) -> Sequence[Dropped]:
        """Offer `entry` to the tier, if it pays or `always`; what it dropped for it."""
        if not always and not self.pays(entry.cost, entry.nbytes):
            self.writing.forget()
            self.reading.forget()
            return ()
        began = time.perf_counter()
        dropped = self._try("write", entry.model, lambda: self.tier.put(entry))
        if dropped is None:
            return ()
        self.trouble = ""
        # It may have declined what exceeds its budget. One that cannot tell cheaply is taken at its word.
        if self.behind or not hasattr(self.tier, "contains") or self.holds(entry.key, entry.model):
            self.writing.measure(time.perf_counter() - began, entry.nbytes)
            self._counter.add(self.name, entry.model, Counts(puts=1))
        for one in dropped:
            self._on_drop(self, one)
        return dropped

    def holds(self, key: str, model: str) -> bool:
        """Whether the tier has the entry, by the cheapest way to tell."""
        contains: Callable[[str], bool] = getattr(self.tier, "contains", lambda key: self.tier.get(key) is not None)
        return bool(self._try("read", model, lambda: contains(key)))

    def pays(self, cost: float, nbytes: int) -> bool:
        """Whether an entry of that many bytes, `cost` seconds to make, is worth keeping here."""
        if self.live or self.reading.per_byte is None or self.writing.per_byte is None:
            return True
        return cost > (self.reading.per_byte + self.writing.per_byte) * nbytes

    def _try(self, kind: str, model: str, work: Callable[[], T]) -> T | None:
        if time.monotonic() < self._resting[kind]:
            return None
        try:
            return work()
        # A tier of a plugin may raise anything, and MemoryError is as good a reason to go without: an embedding that
        # cannot be kept is still an answer.
        except Exception as error:  # noqa: BLE001
            self._resting[kind] = time.monotonic() + REST
            self._counter.add(self.name, model, Counts(failures=1))
            reason = _reason(error)
            if kind == "write":
                self.trouble = reason
            if not self._warned.is_set():
                self._warned.set()
                log.warning("the %s tier of the cache is not used for now: %s", self.name, reason)
            return None


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
