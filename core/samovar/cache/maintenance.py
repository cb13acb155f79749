"""Looking after a cache: what is in it, whether it is sound, and making it smaller."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from samovar.cache.counts import Counts
from samovar.cache.disk import DiskTier
from samovar.cache.encoding import ENCODER
from samovar.cache.tiers import CacheTier

if TYPE_CHECKING:
    from samovar.cache.cache import Cache

__all__ = ["Check", "TierStats", "clear", "prune", "stats", "verify"]


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
class Check:
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


def stats(cache: Cache) -> list[TierStats]:
    """One row a tier and model, tiers in order. A tier that cannot be read is left out."""
    cache.flush()
    counts = cache.stack.counter.total()
    if cache.disk is not None:
        with suppress(OSError):
            cache.disk.ledger.follow()
            # Written down by all processes, this one included; what could not be written yet is added.
            counts = dict(cache.disk.ledger.counts)
            for place, value in cache.stack.counter.pending().items():
                counts[place] = counts.get(place, Counts()) + value
    held: dict[tuple[str, str], tuple[int, int]] = {}
    for tier in cache.tiers:
        with suppress(OSError):
            for info in tier.entries():
                number, nbytes = held.get((tier.name, info.model), (0, 0))
                held[tier.name, info.model] = number + 1, nbytes + info.nbytes
    order = [*(tier.name for tier in cache.tiers), ENCODER]
    places = sorted({*held, *counts}, key=lambda place: (order.index(place[0]) if place[0] in order else 99, place))
    return [TierStats(*place, *held.get(place, (0, 0)), counts.get(place, Counts())) for place in places]


def verify(cache: Cache, progress: Callable[[int], object] = lambda done: None) -> Check:
    """Read every entry of every tier and check it; damaged ones are dropped.

    Args:
        progress: called with the number of entries checked so far.

    Raises:
        OSError: a tier cannot be read.
    """
    entries = nbytes = swept = 0
    damaged: list[str] = []
    for tier in cache.tiers:
        if isinstance(tier, DiskTier):
            tier.distrust()
        for key, size in list(_listing(tier)):
            good = tier.get(key) is not None
            entries += 1
            nbytes += size
            if not good:
                damaged.append(key)
            progress(entries)
        if isinstance(tier, DiskTier):
            swept += tier.tidy()
    return Check(entries, nbytes, tuple(damaged), swept)


def prune(cache: Cache, max_bytes: int | None = None, older_than: float | None = None) -> tuple[int, int]:
    """Drop the least valuable entries of every tier down to `max_bytes`, and those unused for `older_than` seconds.

    Returns:
        How many entries were dropped, and their bytes.

    Raises:
        OSError: a tier cannot be written to.
    """
    unused_since = None if older_than is None else time.time() - older_than
    count = nbytes = 0
    for guard in cache.stack.guards:
        evict = getattr(guard.tier, "evict", None)
        if evict is None:
            continue
        for dropped in evict(max_bytes, unused_since=unused_since):
            count += 1
            nbytes += dropped.info.nbytes
            cache.stack.dropped(guard, dropped)
    return count, nbytes


def clear(cache: Cache) -> tuple[int, int]:
    """Drop every entry of every tier, what is known of files, and statistics.

    Returns:
        How many entries were dropped, and their bytes.

    Raises:
        OSError: a tier cannot be written to.
    """
    count = nbytes = 0
    for tier in cache.tiers:
        for info in list(tier.entries()):
            count += tier.delete(info.key)
            nbytes += info.nbytes
    cache.forget()
    if cache.disk is not None:
        for folder in cache.disk.folder.glob("v[0-9]*"):
            shutil.rmtree(folder, ignore_errors=True)
    return count, nbytes


def _listing(tier: CacheTier) -> Iterator[tuple[str, int]]:
    if isinstance(tier, DiskTier):
        yield from tier.files()  # by name: a file whose header is damaged has no other
    else:
        yield from ((info.key, info.nbytes) for info in tier.entries())
