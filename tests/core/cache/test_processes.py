"""Many processes on one folder: nothing wrong, nothing encoded twice, and nobody waits for the dead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samovar.cache import Cache, DiskTier, Evicted, MemoryTier
from tests.core.cache.support import PixelSegmenter, entry_of, picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
]

PROCESSES, LOOKUPS, IMAGES = 8, 200, 80


def opened(folder: Path, disk: int, memory: int = 0) -> Cache:
    tier = DiskTier(folder, disk)
    return Cache([MemoryTier(memory), tier], disk=tier, admission="always")


def started(*works: Callable[[], object]) -> list[Any]:
    """One forked process for each of `works`, under way."""
    processes = [multiprocessing.get_context("fork").Process(target=work) for work in works]
    for process in processes:
        process.start()
    return processes


def run(*works: Callable[[], object]) -> None:
    """`works`, each in a process of its own, at once. Fails if one of them raises or dies."""
    processes = started(*works)
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def zipf(seed: int) -> list[int]:
    """`LOOKUPS` images, the popular ones often."""
    weights = 1 / np.arange(1, IMAGES + 1)
    draws: list[int] = np.random.default_rng(seed).choice(IMAGES, LOOKUPS, p=weights / weights.sum()).tolist()
    return draws


def look_all(folder: Path, segmenter: PixelSegmenter, seed: int, disk: int, memory: int) -> None:
    cache = opened(folder, disk, memory)
    random = np.random.default_rng(seed)
    wanted = zipf(seed)
    while wanted:
        batch = [picture(wanted.pop()) for _ in range(min(len(wanted), int(random.integers(1, 6))))]
        found = cache.get_or_encode(batch, segmenter, encode_batch=2)
        for embedding, image in zip(found.embeddings, batch):
            if not segmenter.made(embedding, image):
                raise AssertionError(f"a wrong embedding for {image}")
    cache.flush()


def distinct() -> int:
    return len({image for seed in range(PROCESSES) for image in zipf(seed)})


@pytest.mark.slow
def test_with_room_for_all_every_image_is_encoded_once_by_whoever_comes_first(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "cache"
    segmenter = PixelSegmenter(log=log, seconds=0.001, padding=500)
    run(*[partial(look_all, folder, segmenter, seed, 1 << 24, 1 << 20) for seed in range(PROCESSES)])
    encoded = log.read_text().split()
    assert len(set(encoded)) == distinct()
    assert len(encoded) == distinct(), "the number of encodes is the number of distinct images"
    rows = {row.tier: row for row in opened(folder, 1 << 24).stats()}
    assert rows["encoder"].counts.puts == distinct()
    assert rows["disk"].entries == distinct()
    assert rows["memory"].counts.hits + rows["memory"].counts.misses > PROCESSES * LOOKUPS / 2


@pytest.mark.slow
def test_with_a_small_budget_nothing_is_wrong_and_the_budget_holds(tmp_path: Path) -> None:
    segmenter = PixelSegmenter(log=tmp_path / "log", padding=500)
    folder, budget = tmp_path / "cache", 30_000
    run(*[partial(look_all, folder, segmenter, seed, budget, 4000) for seed in range(PROCESSES)])
    cache = opened(folder, budget)
    check = cache.verify()
    assert check.damaged == ()
    assert 0 < check.nbytes <= budget
    assert len((tmp_path / "log").read_text().split()) > distinct()
    assert sum(row.counts.evictions for row in cache.stats() if row.tier == "disk") > 0


@pytest.mark.slow
def test_processes_that_are_killed_at_random_do_not_disturb_the_others(tmp_path: Path) -> None:
    segmenter, folder = PixelSegmenter(padding=500), tmp_path / "cache"
    random = np.random.default_rng(0)

    def endless(seed: int) -> None:
        while True:
            look_all(folder, segmenter, seed, 30_000, 0)

    for turn in range(12):
        victims = started(*[partial(endless, seed) for seed in range(2)])
        time.sleep(float(random.uniform(0.02, 0.12)))
        for victim in victims:
            os.kill(victim.pid, signal.SIGKILL)
        for victim in victims:
            victim.join()
        if turn % 4 == 3:
            run(partial(look_all, folder, segmenter, 100 + turn, 30_000, 0))
    check = opened(folder, 30_000).verify()
    assert check.damaged == ()
    assert check.nbytes <= 30_000


@pytest.mark.slow
def test_who_reads_while_others_write_sees_all_of_an_entry_or_nothing(tmp_path: Path) -> None:
    """Entries of the same key are replaced again and again; none of the readers ever finds one that is not whole."""
    entry = entry_of(1, nbytes=1 << 20)

    def write() -> None:
        tier = DiskTier(tmp_path, 1 << 24)
        for _ in range(150):
            tier.put(entry)

    tier, dropped = DiskTier(tmp_path, 1 << 24), list[Evicted]()
    tier.on_evict = dropped.append
    tier.put(entry)
    writers = started(write, write)
    while any(process.is_alive() for process in writers):
        found = tier.get(entry.key)
        assert found is not None
        assert np.array_equal(found.unpack().tensors["tensor"], entry.unpack().tensors["tensor"])
    assert [process.exitcode for process in writers] == [0, 0]
    assert dropped == []


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Stuck(PixelSegmenter):
    """Says that it has begun, and never ends."""

    def encode(self, images: Any) -> Any:
        assert self.log is not None
        self.log.touch()
        time.sleep(1000)


def test_a_killed_holder_of_the_lock_keeps_nobody_waiting(tmp_path: Path) -> None:
    folder, begun = tmp_path / "cache", tmp_path / "begun"
    (holder,) = started(lambda: opened(folder, 1 << 20).get_or_encode([picture(1)], Stuck(log=begun)))
    wait_for(begun)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    began = time.monotonic()
    segmenter = PixelSegmenter()
    found = opened(folder, 1 << 20).get_or_encode([picture(1)], segmenter)
    assert segmenter.made(found.embeddings[0], picture(1))
    assert time.monotonic() - began < 60, "far less than anybody's patience"


@pytest.mark.slow
def test_who_waits_for_a_holder_goes_on_as_soon_as_it_is_killed(tmp_path: Path) -> None:
    folder, begun, log = tmp_path / "cache", tmp_path / "begun", tmp_path / "log"
    (holder,) = started(lambda: opened(folder, 1 << 20).get_or_encode([picture(1)], Stuck(log=begun)))
    wait_for(begun)
    segmenter = PixelSegmenter(log=log)
    waiting = started(*[lambda: opened(folder, 1 << 20).get_or_encode([picture(1)], segmenter)] * 3)
    time.sleep(0.3)
    assert not log.exists(), "all three wait"
    os.kill(holder.pid, signal.SIGKILL)
    for process in [*waiting, holder]:
        process.join(60)
    assert [process.exitcode for process in waiting] == [0, 0, 0]
    assert len(log.read_text().split()) == 1, "and one of them took over"


@pytest.mark.slow
def test_a_holder_that_hangs_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samovar.cache.cache.PATIENCE", 0.4)
    folder, begun = tmp_path / "cache", tmp_path / "begun"
    (holder,) = started(lambda: opened(folder, 1 << 20).get_or_encode([picture(1)], Stuck(log=begun)))
    wait_for(begun)
    os.kill(holder.pid, signal.SIGSTOP)
    segmenter = PixelSegmenter()
    found = opened(folder, 1 << 20).get_or_encode([picture(1), picture(2)], segmenter)
    assert segmenter.made(found.embeddings[0], picture(1))
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()


def test_a_process_stopped_while_it_writes_statistics_costs_others_a_tier_and_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("samovar.cache.index.PATIENCE", 0.2)
    folder, begun = tmp_path / "cache", tmp_path / "begun"
    cache, segmenter = opened(folder, 1 << 20), PixelSegmenter()
    cache.get_or_encode([picture(1)], segmenter)

    def hold() -> None:
        db = sqlite3.connect(folder / "v2" / "index.sqlite", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        begun.touch()
        time.sleep(1000)

    (holder,) = started(hold)
    wait_for(begun)
    found = cache.get_or_encode([picture(1), picture(2)], segmenter)
    assert found.encoded == 1, "what is there is still read"
    assert "has held" in caplog.text
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()


def test_a_process_stopped_while_it_writes_statistics_does_not_slow_hits_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samovar.cache.disk.FLUSH_SECONDS", 0.0)
    monkeypatch.setattr("samovar.cache.index.PATIENCE", 30.0)
    folder, begun = tmp_path / "cache", tmp_path / "begun"
    cache, segmenter = opened(folder, 1 << 20), PixelSegmenter()
    cache.get_or_encode([picture(1)], segmenter)

    def hold() -> None:
        db = sqlite3.connect(folder / "v2" / "index.sqlite", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        begun.touch()
        time.sleep(1000)

    (holder,) = started(hold)
    wait_for(begun)
    began = time.monotonic()
    for _ in range(3):
        assert cache.get_or_encode([picture(1)], segmenter).encoded == 0
    assert time.monotonic() - began < 30, "statistics can wait"
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    cache.flush()
    assert {row.tier: row.counts.hits for row in opened(folder, 1 << 20).stats()}["disk"] == 3


@pytest.mark.slow
def test_a_long_job_of_ones_own_does_not_use_up_the_patience_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samovar.cache.cache.PATIENCE", 4.0)
    folder, begun, log = tmp_path / "cache", tmp_path / "begun", tmp_path / "log"

    class LongerThanOurs(Stuck):
        def encode(self, images: Any) -> Any:
            begun.touch()
            while not log.exists() or len(log.read_text().split()) < 11:
                time.sleep(0.01)
            return [self._embed(image) for image in images]

    (holder,) = started(lambda: opened(folder, 1 << 20).get_or_encode([picture(0)], LongerThanOurs()))
    wait_for(begun)
    segmenter = PixelSegmenter(log=log, seconds=0.45)
    found = opened(folder, 1 << 20).get_or_encode([picture(seed) for seed in range(12)], segmenter, encode_batch=1)
    holder.join(60)
    assert found.hits[0], "encoded by the other, who was still at it"
    assert len(log.read_text().split()) == 11


def test_a_child_forked_in_the_middle_of_an_encode_can_use_the_cache(tmp_path: Path) -> None:
    """Its parent's threads, and so whoever was encoding, do not exist in the child: it must not wait for them."""
    import threading

    cache = Cache.open(tmp_path / "cache")
    begun = tmp_path / "begun"
    threading.Thread(target=lambda: cache.get_or_encode([picture(1)], SlowStart(log=begun)), daemon=True).start()
    wait_for(begun)
    run(lambda: cache.get_or_encode([picture(1), picture(2)], PixelSegmenter()))


class SlowStart(PixelSegmenter):
    def encode(self, images: Any) -> Any:
        assert self.log is not None
        self.log.touch()
        time.sleep(self.seconds or 0.5)
        return [self._embed(image) for image in images]
