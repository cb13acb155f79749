"""The tiers from fast to slow: entries rise when they are used, and sink instead of being lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from samovar.cache.behind import Behind
from samovar.cache.counts import Counter, Counts
from samovar.cache.device import DeviceTier
from samovar.cache.entry import Entry
from samovar.cache.guard import Guard
from samovar.cache.precision import Precision
from samovar.cache.tiers import CacheTier, Dropped
from samovar.cache.upload import Stopwatch
from samovar.embedding import Embedding
from samovar.events import EvictEvent

__all__ = ["Stack"]

log = logging.getLogger("samovar.cache")


class Stack:
    """Looks entries up and keeps them, over all tiers.

    Args:
        tiers: from fast to slow.
        on_evict: told of every entry that leaves one of them.
    """

    def __init__(self, tiers: Sequence[CacheTier], on_evict: Callable[[EvictEvent], object] | None = None) -> None:
        self._on_evict = on_evict
        self.counter = Counter()
        self.guards = tuple(Guard(tier, self.counter, self.dropped) for tier in tiers)
        self._writing = Behind()
        self._sending = {guard.name: Behind() for guard in self.guards if guard.behind}
        self._serving: dict[str, tuple[Guard, ...]] = {}

    def find(self, key: str, model: str, device: str, *, again: bool = False) -> Entry | None:
        """The entry, ready for use, from the fastest tier that has it; it is put into the faster ones.

        Args:
            again: a second look, for what another process may have put there since the first.
        """
        guards = self.serving(device)
        for index, guard in enumerate(guards):
            entry = guard.get(key, model, again=again) if guard.recheck or not again else None
            if entry is None:
                continue
            ready = entry.widened() if self._special(guards) is None else None
            for faster in guards[:index]:
                self._put(faster, entry, guards, ready)
            return self._on_device(key, guards[:index]) or ready or entry.widened()
        return None

    def publish(self, entry: Entry, device: str, *, always: bool = False) -> Entry:
        """Put `entry` into every tier where it pays, or `always`; the entry, ready for use."""
        guards = self.serving(device)
        ready = entry.widened() if self._special(guards) is None else None
        for guard in guards:
            self._put(guard, entry, guards, ready, always=always)
        return self._on_device(entry.key, guards) or ready or entry.widened()

    def holds(self, key: str, model: str, device: str, *, in_memory: bool = False) -> bool:
        """Whether any tier has the entry, or any of those that have entries `in_memory`, ready for use."""
        return any(guard.holds(key, model) for guard in self.serving(device) if guard.live or not in_memory)

    def keeps(self, key: str, model: str, device: str) -> bool:
        """Whether a tier has the entry that outlasts the process; any tier where none does."""
        return any(guard.holds(key, model) for guard in self._lasting(device))

    def trouble(self, device: str) -> str:
        """Why none of those tiers could take the last entry that it was given; empty if one could."""
        troubles = [guard.trouble for guard in self._lasting(device)]
        return troubles[0] if troubles and all(troubles) else ""

    def _lasting(self, device: str) -> tuple[Guard, ...]:
        guards = self.serving(device)
        return tuple(guard for guard in guards if guard.lasting) or guards

    def serving(self, device: str) -> tuple[Guard, ...]:
        """The tiers that are of use to a segmenter on `device`, those of that very device first among them."""
        if device not in self._serving:
            self._serving[device] = self._choose(device)
        return self._serving[device]

    def prepare_with(self, segmenter: object, device: str) -> None:
        """Let tiers on the device keep what `segmenter` prepares of each embedding."""
        for guard in self.serving(device):
            if isinstance(guard.tier, DeviceTier):
                guard.tier.prepare_with(segmenter)

    def stopwatch(self, device: str) -> Stopwatch:
        """Started now, on the caller's stream."""
        special = self._special(self.serving(device))
        return Stopwatch(None if special is None else special.uploader.streams)

    def follow(self, key: str, device: str) -> None:
        """Let the caller's stream wait for an embedding that another thread has made on another stream."""
        for guard in self.serving(device):
            if isinstance(guard.tier, DeviceTier):
                guard.tier.get(key)

    @staticmethod
    def _special(guards: tuple[Guard, ...]) -> DeviceTier | None:
        """The device's own tier among them, which takes entries as stored and widens them itself."""
        return next((guard.tier for guard in guards if isinstance(guard.tier, DeviceTier)), None)

    @staticmethod
    def _on_device(key: str, guards: tuple[Guard, ...]) -> Entry | None:
        """The copy of an entry that was just put into a device's own tier, if there is such a tier and it took it."""
        return next((guard.tier.get(key) for guard in guards if isinstance(guard.tier, DeviceTier)), None)

    def _choose(self, device: str) -> tuple[Guard, ...]:
        chosen = []
        for guard in self.guards:
            on: Callable[[str], CacheTier | None] | None = getattr(guard.tier, "on", None)
            if on is None:
                chosen += [guard] if guard.serves(device) else []
                continue
            tier = on(device)
            chosen += [Guard(tier, self.counter, self.dropped)] if tier is not None else []
        special = any(isinstance(guard.tier, DeviceTier) for guard in chosen)
        # Host memory holds what a device without a tier of its own would otherwise fetch from the disk.
        return tuple(guard for guard in chosen if not (special and getattr(guard.tier, "fallback", False)))

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
        guards = self.serving(device)
        special = self._special(guards)
        if special is None:
            return None
        entry = Entry.adopt(embedding, key, model=model, precision=precision, cost=cost)
        if entry is None:
            return None
        streams = special.uploader.streams
        made = streams.mark()
        for guard in guards:
            if guard.tier is special:
                self._put(guard, entry, guards, entry, always=always)

        def write_through() -> None:
            with streams.aside(after_caller=False):
                streams.follow(made, *(part.stored.values for part in entry.parts))
                hosted = replace(entry.hosted(), cost=max(cost, device_cost()))
            for guard in guards:
                if guard.tier is not special:
                    self._put(guard, hosted, guards, always=always)

        self._writing.put(entry.nbytes, write_through)
        return special.get(key) or entry

    def when_written(self, work: Callable[[], object]) -> None:
        """Do `work` once what was adopted so far is in the slower tiers; at once, if it is."""
        if self._writing.idle:
            work()
        else:
            self._writing.put(0, work)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything is where it is to be kept; whether it is."""
        return self._writing.wait(seconds) and all(queue.wait(seconds) for queue in self._sending.values())

    def _put(
        self, guard: Guard, entry: Entry, guards: tuple[Guard, ...], ready: Entry | None = None, *, always: bool = False
    ) -> None:
        """Offer `entry` to one of `guards`; `ready`: the same, widened, where that is at hand."""
        if guard.behind:
            self._sending[guard.name].put(entry.nbytes, lambda: guard.put(entry, always=always))
            return
        widened = guard.live and not isinstance(guard.tier, DeviceTier)
        for dropped in guard.put((ready or entry.widened()) if widened else entry, always=always):
            if dropped.entry is not None and dropped.reason == "budget":
                self._sink(dropped.entry, guards[guards.index(guard) + 1 :])

    def _sink(self, entry: Entry, slower: tuple[Guard, ...]) -> None:
        """Keep what a tier had no room for in the next one, unless a slower one has it already."""
        if slower and not any(guard.holds(entry.key, entry.model) for guard in slower):
            self._put(slower[0], entry.hosted(), slower)

    def dropped(self, guard: Guard, dropped: Dropped) -> None:
        """Count and announce what a tier dropped."""
        info = dropped.info
        if dropped.reason == "corrupt":
            self.counter.add(guard.name, info.model, Counts(damaged=1))
        elif dropped.reason == "budget":
            self.counter.add(guard.name, info.model, Counts(evictions=1))
        if self._on_evict is not None:
            self._on_evict(EvictEvent(tier=guard.name, key=info.key, nbytes=info.nbytes, reason=dropped.reason))
