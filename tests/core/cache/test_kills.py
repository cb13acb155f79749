"""SIGKILL at any moment: whenever a process dies, the next one is served, and rightly.

The moments are drawn at random, from a fixed seed, over the time that the work takes; $SAMOVAR_STRESS draws many more.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from samovar.cache import Cache, DiskTier
from tests.core.cache.support import PixelSegmenter, entry_of, picture, pictures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

BUDGET = 14_000
KILLS = 1000 if os.environ.get("SAMOVAR_STRESS") else 40


def opened(folder: Path) -> Cache:
    tier = DiskTier(folder, BUDGET)
    return Cache([tier], disk=tier, admission="always")


def in_child(work: Callable[[], object], kill_after: float | None) -> float:
    """Do `work` in a forked child, killed after so many seconds; how long it took."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert status in ({0, signal.SIGKILL} if kill_after is not None else {0})
    return time.perf_counter() - began


def check(folder: Path, segmenter: PixelSegmenter) -> None:
    """What a process finds that comes after the killed one."""
    cache = opened(folder)
    assert cache.disk is not None
    images = pictures(4)
    began = time.monotonic()
    found = cache.get_or_encode(images, segmenter)
    assert all(segmenter.made(embedding, image) for embedding, image in zip(found.embeddings, images))
    assert [cache.get_or_encode([picture(99)], segmenter).encoded for _ in range(2)] == [1, 0], "and it can put again"
    assert time.monotonic() - began < 20, "nobody waits for the dead"
    nbytes = sum(path.stat().st_size for path in folder.rglob("*.emb"))
    assert nbytes <= BUDGET
    assert cache.verify().damaged == ()
    left = [path for name in ("tmp", "claims") for path in (folder / "v2" / name).iterdir()]
    assert left == [], "what the killed process left behind is cleared away"
    assert sum(info.nbytes for info, _ in cache.disk.index.infos().values()) == nbytes
    db = sqlite3.connect(folder / "v2" / "index.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


def kill_at_random(start: Path, scratch: Path, work: Callable[[Path], object], segmenter: PixelSegmenter) -> None:
    """Kill `work` at random moments, each time on a copy of `start`, and check what is left."""
    seconds = 0.0
    for number in range(KILLS):
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(start, scratch)
        if number < 3:
            seconds = max(seconds, in_child(lambda: work(scratch), None))
        else:
            in_child(lambda: work(scratch), random.Random(number).uniform(0, seconds))
        check(scratch, segmenter)


@pytest.mark.slow
def test_killed_while_encoding_publishing_and_evicting(tmp_path: Path) -> None:
    segmenter = PixelSegmenter(padding=2500)
    start = tmp_path / "start"
    opened(start).get_or_encode(pictures(4), segmenter)
    assert len(list(start.rglob("*.emb"))) == 4, "the budget is all but used up: the next put evicts"

    def work(folder: Path) -> None:
        opened(folder).get_or_encode(pictures(12)[3:], segmenter, encode_batch=2)

    kill_at_random(start, tmp_path / "scratch", work, segmenter)


@pytest.mark.slow
def test_killed_while_making_a_new_folder(tmp_path: Path) -> None:
    segmenter, start = PixelSegmenter(), tmp_path / "start"
    start.mkdir()

    def work(folder: Path) -> None:
        cache = opened(folder)
        cache.get_or_encode(pictures(2), segmenter)
        cache.flush()

    kill_at_random(start, tmp_path / "scratch", work, segmenter)


@pytest.mark.slow
def test_killed_while_pruning_and_clearing(tmp_path: Path) -> None:
    segmenter, start = PixelSegmenter(padding=2500), tmp_path / "start"
    opened(start).get_or_encode(pictures(4), segmenter)

    def work(folder: Path) -> None:
        cache = opened(folder)
        assert cache.disk is not None
        cache.disk.put(entry_of(1))
        cache.prune(max_bytes=5000)
        cache.disk.put(entry_of(2))
        cache.clear()

    kill_at_random(start, tmp_path / "scratch", work, segmenter)


@pytest.mark.slow
def test_killed_again_and_again_on_one_folder(tmp_path: Path) -> None:
    """Nothing that one leaves behind adds up."""
    segmenter, folder = PixelSegmenter(padding=2500), tmp_path / "cache"

    def work() -> None:
        while True:
            opened(folder).get_or_encode(random.sample(pictures(12), 4), segmenter, encode_batch=2)

    for number in range(KILLS):
        in_child(work, random.Random(number).uniform(0.02, 0.1))
    check(folder, segmenter)
