"""Counting what a cache does, and looking after what is in it: statistics, verifying, pruning, clearing."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from operator import add, attrgetter
from typing import TYPE_CHECKING

from samovar.cache.concurrency import on_fork

if TYPE_CHECKING:
    from samovar.cache.disk import DiskTier
    from samovar.cache.tiers import CacheTier, Evicted

__all__ = [
    "ENCODER",
    "Counter",
    "Counts",
    "TierStats",
    "VerifyReport",
    "clear",
    "prometheus",
    "prune",
    "stats",
    "verify",
]

ENCODER = "encoder"
"""The name under which encodes are counted: the slowest tier of all."""

Place = tuple[str, str]
"""A tier and a model."""


@dataclass(frozen=True)
class Counts:
    """What one tier did for one model.

    Attributes:
        hits: entries found there.
        misses: entries looked for there and not found.
        puts: entries put there.
        evictions: entries evicted to make room.
        damaged: entries dropped because their checksums did not hold.
        failures: operations that the tier could not carry out (full, read-only, unreachable).
        saved: seconds of encoding that its hits made unnecessary.
        spent: seconds of encoding that happened nevertheless, counted at the tier called "encoder".
    """

    hits: int = 0
    misses: int = 0
    puts: int = 0
    evictions: int = 0
    damaged: int = 0
    failures: int = 0
    saved: float = 0.0
    spent: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts.of_list(map(add, self.as_list(), other.as_list()))

    @classmethod
    def names(cls) -> list[str]:
        """Of the attributes, in order."""
        return [one.name for one in fields(cls)]

    def as_list(self) -> list[float]:
        """The values in the order of the attributes."""
        return list(_values(self))

    @classmethod
    def of_list(cls, values: Iterable[float]) -> Counts:
        """The inverse of `as_list`."""
        *numbers, saved, spent = values
        hits, misses, puts, evictions, damaged, failures = map(int, numbers)
        return cls(hits, misses, puts, evictions, damaged, failures, saved, spent)


_values = attrgetter(*Counts.names())
_HIT, _MISS, _SAVED = (Counts.names().index(name) for name in ("hits", "misses", "saved"))


class Counter:
    """Counts by tier and model: those not yet written down for all processes, and those that are. Thread-safe."""

    def __init__(self) -> None:
        self._renew()
        on_fork(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[Place, list[float]] = {}
        self._written: dict[Place, Counts] = {}

    def hit(self, tier: str, model: str, saved: float) -> None:
        """Count a hit that saved so many seconds."""
        with self._lock:
            row = self._row((tier, model))
            row[_HIT] += 1
            row[_SAVED] += saved

    def miss(self, tier: str, model: str) -> None:
        """Count a miss."""
        with self._lock:
            self._row((tier, model))[_MISS] += 1

    def add(self, tier: str, model: str, counts: Counts) -> None:
        """Count something else."""
        with self._lock:
            self._add((tier, model), counts)

    def total(self) -> dict[Place, Counts]:
        """Everything counted so far by this process."""
        pending = self.pending()
        with self._lock:
            written = dict(self._written)
        return {place: written.get(place, Counts()) + pending.get(place, Counts()) for place in {**written, **pending}}

    def pending(self) -> dict[Place, Counts]:
        """What has not been taken yet."""
        with self._lock:
            return {place: Counts.of_list(row) for place, row in self._pending.items()}

    def take(self) -> dict[Place, Counts]:
        """What has been counted since the last call."""
        with self._lock:
            taken = {place: Counts.of_list(row) for place, row in self._pending.items()}
            self._pending = {}
            for place, counts in taken.items():
                self._written[place] = self._written.get(place, Counts()) + counts
        return taken

    def give_back(self, counts: dict[Place, Counts]) -> None:
        """Undo a `take` whose counts could not be written down."""
        with self._lock:
            for place, value in counts.items():
                self._add(place, value)
                less = Counts.of_list(-number for number in value.as_list())
                self._written[place] = self._written.get(place, Counts()) + less

    def _row(self, place: Place) -> list[float]:
        row = self._pending.get(place)
        if row is None:
            row = self._pending[place] = Counts().as_list()
        return row

    def _add(self, place: Place, counts: Counts) -> None:
        row = self._row(place)
        row[:] = map(add, row, counts.as_list())


@dataclass(frozen=True)
class TierStats:
    """What one tier holds of one model, and what it has done for it.

    Attributes:
        tier, model: which.
        entries: how many it holds.
        nbytes: their bytes.
        counts: hits, misses, evictions, seconds saved …; over all processes if there is a disk tier.
    """

    tier: str
    model: str
    entries: int = 0
    nbytes: int = 0
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        entries: how many were checked.
        nbytes: their bytes.
        damaged: the keys of those that were damaged; they have been dropped.
        swept: how many files that killed processes left behind were removed.
    """

    entries: int
    nbytes: int
    damaged: tuple[str, ...]
    swept: int


def stats(tiers: Sequence[CacheTier], counter: Counter, disk: DiskTier | None) -> list[TierStats]:
    """One row a tier and model, tiers in order. A tier that cannot be read is left out."""
    counts = counter.total()
    if disk is not None:
        with suppress(OSError):
            # Written down by all processes, this one included; what could not be written yet is added.
            counts = disk.index.counts()
            for place, value in counter.pending().items():
                counts[place] = counts.get(place, Counts()) + value
    held: dict[Place, tuple[int, int]] = {}
    for tier in tiers:
        with suppress(OSError):
            for info in tier.entries():
                number, nbytes = held.get((tier.name, info.model), (0, 0))
                held[tier.name, info.model] = number + 1, nbytes + info.nbytes
    order = [*(tier.name for tier in tiers), ENCODER]
    places = sorted({*held, *counts}, key=lambda place: (order.index(place[0]) if place[0] in order else 99, place))
    return [TierStats(*place, *held.get(place, (0, 0)), counts.get(place, Counts())) for place in places]


def verify(
    tiers: Sequence[CacheTier], disk: DiskTier | None, progress: Callable[[int], object] = lambda done: None
) -> VerifyReport:
    """Read every entry of every tier and check it; damaged ones are dropped.

    Args:
        progress: called with the number of entries checked so far.

    Raises:
        OSError: a tier cannot be read.
    """
    entries = nbytes = 0
    damaged: list[str] = []
    if disk is not None:
        disk.distrust()

    def listing(tier: CacheTier) -> Iterator[tuple[str, int]]:
        if tier is disk and disk is not None:
            return disk.files()  # by name: a file whose header is damaged has no other
        return ((info.key, info.nbytes) for info in tier.entries())

    for tier in tiers:
        for key, size in list(listing(tier)):
            entries += 1
            nbytes += size
            if tier.get(key) is None:
                damaged.append(key)
            progress(entries)
    return VerifyReport(entries, nbytes, tuple(damaged), disk.tidy() if disk is not None else 0)


def prune(
    tiers: Sequence[CacheTier],
    evicted: Callable[[str, Evicted], object],
    max_bytes: int | None = None,
    older_than: float | None = None,
) -> tuple[int, int]:
    """Evict the least valuable entries of every tier down to `max_bytes`, and those unused for `older_than` seconds.

    Args:
        evicted: told of each, with its tier's name.

    Returns:
        How many entries were evicted, and their bytes.

    Raises:
        OSError: a tier cannot be written to.
    """
    from samovar.cache.tiers import Evicts

    unused_since = None if older_than is None else time.time() - older_than
    count = nbytes = 0
    for tier in tiers:
        for one in tier.evict(max_bytes, unused_since=unused_since) if isinstance(tier, Evicts) else ():
            count += 1
            nbytes += one.info.nbytes
            evicted(tier.name, one)
    return count, nbytes


def clear(tiers: Sequence[CacheTier], disk: DiskTier | None) -> tuple[int, int]:
    """Drop every entry of every tier, and all versions' folders with their statistics.

    Returns:
        How many entries were dropped, and their bytes.

    Raises:
        OSError: a tier cannot be written to.
    """
    from samovar.cache.tiers import Evicts

    count = nbytes = 0
    for tier in tiers:
        for one in tier.evict(0) if isinstance(tier, Evicts) else ():
            count += 1
            nbytes += one.info.nbytes
        for info in list(tier.entries()):
            count += tier.delete(info.key)
            nbytes += info.nbytes
    if disk is not None:
        for folder in [*disk.folder.glob("v[0-9]*"), disk.state]:
            shutil.rmtree(folder, ignore_errors=True)
    return count, nbytes


# ------------------------------------------------------------------------------------------- for Prometheus

_METRICS: tuple[tuple[str, str, str, Callable[[TierStats], float]], ...] = (
    ("entries", "gauge", "Embeddings held", lambda row: row.entries),
    ("bytes", "gauge", "Bytes of the embeddings held", lambda row: row.nbytes),
    ("hits_total", "counter", "Lookups that found the embedding", lambda row: row.counts.hits),
    ("misses_total", "counter", "Lookups that did not", lambda row: row.counts.misses),
    ("puts_total", "counter", "Embeddings put", lambda row: row.counts.puts),
    ("evictions_total", "counter", "Embeddings evicted to make room", lambda row: row.counts.evictions),
    ("damaged_total", "counter", "Embeddings dropped as damaged", lambda row: row.counts.damaged),
    ("failures_total", "counter", "Operations that the tier could not do", lambda row: row.counts.failures),
    ("saved_seconds_total", "counter", "Encoding made unnecessary", lambda row: row.counts.saved),
    ("encode_seconds_total", "counter", "Encoding done all the same", lambda row: row.counts.spent),
)


def prometheus(rows: Sequence[TierStats]) -> str:
    """`Cache.stats()` in the text format (version 0.0.4) that Prometheus scrapes."""
    lines: list[str] = []
    for name, kind, summary, value in _METRICS:
        metric = f"samovar_cache_{name}"
        lines += [f"# HELP {metric} {summary}.", f"# TYPE {metric} {kind}"]
        lines += [f'{metric}{{tier="{_text(row.tier)}",model="{_text(row.model)}"}} {value(row):.9g}' for row in rows]
    return "".join(f"{one}\n" for one in lines)


def _text(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
