"""What a cache tells about itself: statistics, Prometheus, and the hook that hears of every entry that leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from samovar import hookimpl
from samovar.cache import Cache, CacheConfig, DiskTier, MemoryTier
from samovar.cache.stats import Counter, prometheus
from samovar.cache.store import CircuitBreaker
from samovar.plugins import EvictEvent, override_plugins
from tests.core.cache.support import PixelSegmenter, entry_of, picture, pictures


def opened(folder: Path, memory: int = 1 << 20, disk: int = 1 << 20) -> Cache:
    tier = DiskTier(folder, disk)
    return Cache([MemoryTier(memory), tier], disk=tier, admission="always")


def test_hits_misses_and_seconds_saved_are_counted_per_tier_and_model(tmp_path: Path) -> None:
    one, two = PixelSegmenter("one", seconds=0.01), PixelSegmenter("two", seconds=0.02)
    cache = opened(tmp_path)
    for _ in range(3):
        cache.get_or_encode(pictures(4), one, model="one")
    cache.get_or_encode(pictures(2), two, model="two")
    rows = {(row.tier, row.model): row for row in cache.stats()}
    assert list(rows) == [(tier, model) for tier in ("memory", "disk", "encoder") for model in ("one", "two")]
    memory = rows["memory", "one"].counts
    assert (memory.hits, memory.misses, memory.puts) == (8, 4, 4)
    assert memory.saved == pytest.approx(2 * rows["encoder", "one"].counts.spent)
    assert (rows["disk", "one"].counts.misses, rows["disk", "two"].counts.misses) == (4, 2)
    assert (rows["encoder", "one"].counts.puts, rows["encoder", "two"].counts.puts) == (4, 2)
    assert rows["encoder", "two"].counts.spent >= 0.04
    assert (rows["disk", "one"].entries, rows["disk", "two"].entries) == (4, 2)
    assert rows["disk", "one"].nbytes == 2 * rows["disk", "two"].nbytes


def test_statistics_add_up_over_processes(tmp_path: Path) -> None:
    for _ in range(3):
        cache = opened(tmp_path)
        cache.get_or_encode(pictures(4), PixelSegmenter(), model="m")
        cache.close()
    rows = {row.tier: row for row in opened(tmp_path).stats()}
    assert rows["disk"].counts.hits == 8
    assert rows["encoder"].counts.puts == 4


def test_statistics_are_written_down_when_a_cache_is_let_go(tmp_path: Path) -> None:
    opened(tmp_path).get_or_encode(pictures(4), PixelSegmenter(), model="m")
    assert {row.tier: row.counts.puts for row in opened(tmp_path).stats()}["encoder"] == 4


def test_what_does_not_pay_is_not_put_on_the_disk(tmp_path: Path) -> None:
    """An encoder that is faster than reading its embedding back: once that is known, the disk is spared."""
    tier = DiskTier(tmp_path, 1 << 24)
    cache, cheap = Cache([tier], disk=tier), PixelSegmenter(padding=200_000)
    for seed in range(6):
        for _ in range(2):
            cache.get_or_encode([picture(seed)], cheap)
    (breaker,) = cache.store.breakers
    assert breaker.reading.per_byte is not None
    breaker.reading.per_byte = breaker.writing.per_byte = 1.0  # a disk from long ago: a second a byte
    before = len(list(tier.entries()))
    cache.get_or_encode([picture(100)], cheap)
    assert len(list(tier.entries())) == before
    assert cache.get_or_encode([picture(101)], cheap, admission="always").encoded == 1
    assert len(list(tier.entries())) == before + 1


def test_what_a_tier_takes_to_be_opened_does_not_count_as_its_pace(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 1 << 24)
    breaker = CircuitBreaker(tier, Counter(), lambda name, evicted: None)
    breaker.put(entry_of(1))
    assert breaker.writing.per_byte is None
    breaker.put(entry_of(2))
    assert breaker.writing.per_byte is not None


def test_a_spell_of_slowness_is_forgotten(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 1 << 24)
    breaker = CircuitBreaker(tier, Counter(), lambda name, evicted: None)
    entry = entry_of(1, cost=1.0)
    breaker.reading.per_byte = breaker.writing.per_byte = 2 / entry.nbytes  # twice two seconds for it, lately
    tries = 0
    while tier.get(entry.key) is None:
        breaker.put(entry)
        tries += 1
        assert tries < 500
    assert tries > 100, "0.99 to the power of 138 is a quarter"


def test_the_hook_hears_of_every_entry_that_leaves(tmp_path: Path) -> None:
    heard: list[EvictEvent] = []

    class Listener:
        @hookimpl
        def on_evict(self, event: EvictEvent) -> None:
            heard.append(event)

    segmenter = PixelSegmenter(padding=2000)
    with override_plugins({"listener": Listener()}):
        settings = {"admission": "always", "folder": tmp_path, "memory": 5000, "disk": 9000}
        cache = Cache.open(CacheConfig.load(**settings))
        for image in pictures(6):
            cache.get_or_encode([image], segmenter)
        assert {(event.tier, event.reason) for event in heard} == {("memory", "budget"), ("disk", "budget")}
        assert all(event.nbytes > 2000 for event in heard)
        left = list(tmp_path.rglob("*.emb"))
        left[0].write_bytes(b"")
        cache.verify()
        assert (heard[-1].tier, heard[-1].reason, heard[-1].key) == ("disk", "corrupt", left[0].stem)
        cache.prune(max_bytes=0)
        assert heard[-1].reason == "pruned"


def test_the_page_for_prometheus_is_in_its_format(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.get_or_encode(pictures(3), PixelSegmenter(), model='odd "name"\\\n')
    page = prometheus(cache.stats())
    sample = re.compile(r'samovar_cache_[a-z_]+\{tier="[^"]*",model="(?:[^"\\\n]|\\.)*"\} -?[0-9.e+-]+')
    for line in page.splitlines():
        assert line.startswith(("# HELP samovar_cache_", "# TYPE samovar_cache_")) or sample.fullmatch(line), line
    assert r'samovar_cache_entries{tier="disk",model="odd \"name\"\\\n"} 3' in page
    assert page.endswith("\n")
