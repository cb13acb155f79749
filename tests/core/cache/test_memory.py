"""The memory tier: bounded by bytes, and what somebody holds stays."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from samovar.cache import MemoryTier
from samovar.cache.tiers import CacheTier
from samovar.errors import CacheError
from tests.core.cache.support import entry_of


def keys(tier: MemoryTier) -> list[str]:
    return sorted(info.key for info in tier.entries())


def test_it_is_a_tier() -> None:
    assert isinstance(MemoryTier(1), CacheTier)


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(CacheError, match="at least 0 bytes; got -1"):
        MemoryTier(-1)


def test_bytes_bound_it_not_numbers() -> None:
    tier = MemoryTier(10 * 1024)
    for seed in range(100):
        tier.put(entry_of(seed, nbytes=64))
    assert len(keys(tier)) == 100
    dropped = tier.put(entry_of(100, nbytes=8 * 1024))
    assert sum(info.nbytes for info in tier.entries()) <= 10 * 1024
    assert len(dropped) == 100 * 64 // 64 - (10 * 1024 - 8 * 1024) // 64


def test_what_is_dropped_is_handed_on() -> None:
    tier = MemoryTier(1024)
    tier.put(entry_of(1))
    (dropped,) = tier.put(entry_of(2))
    assert dropped.reason == "budget"
    assert dropped.entry is not None
    assert dropped.entry.key == entry_of(1).key


def test_an_entry_larger_than_the_budget_is_declined_and_drops_nothing() -> None:
    tier = MemoryTier(1024)
    tier.put(entry_of(1))
    assert tier.put(entry_of(2, nbytes=2048)) == []
    assert keys(tier) == [entry_of(1).key]


def test_an_entry_that_somebody_holds_is_not_dropped() -> None:
    tier = MemoryTier(2 * 1024)
    tier.put(entry_of(1, cost=0.001))
    tier.put(entry_of(2))
    entry = tier.get(entry_of(1).key)
    assert entry is not None
    held = entry.unpack()
    tier.put(entry_of(3))
    assert entry_of(1).key in keys(tier), "dropping it would free nothing"
    del held, entry
    gc.collect()
    tier.put(entry_of(4, cost=5))
    tier.put(entry_of(5, cost=5))
    assert entry_of(1).key not in keys(tier)


def test_the_same_memory_is_handed_out_as_long_as_somebody_holds_it() -> None:
    tier = MemoryTier(1 << 20)
    tier.put(entry_of(1))
    one, two = tier.get(entry_of(1).key), tier.get(entry_of(1).key)
    assert one is not None
    assert two is not None
    assert one.unpack() is two.unpack()


@pytest.mark.slow
def test_every_hit_gives_the_same_embedding_though_nobody_held_it_meanwhile() -> None:
    tier = MemoryTier(1 << 20)
    tier.put(entry_of(1))
    seen = []
    for _ in range(2):
        entry = tier.get(entry_of(1).key)
        assert entry is not None
        seen.append(weakref.ref(entry.unpack()))
        del entry
        gc.collect()
    assert seen[0]() is seen[1]() is not None


def test_threads_may_put_get_and_delete_at_once() -> None:
    tier = MemoryTier(20 * 1024)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for step in range(300):
            number = (seed * 7 + step) % 40
            key = entry_of(number, nbytes=64).key
            found = tier.get(key)
            if found is None:
                tier.put(entry_of(number, nbytes=1024))
            elif found.key != key:
                wrong.append(found)
            if step % 11 == 0:
                tier.delete(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(info.nbytes for info in tier.entries()) <= 20 * 1024
