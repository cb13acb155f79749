"""SIGKILL between any two steps: whatever line of the cache a process dies at, the next one is served, and rightly."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import samovar.cache
from samovar.cache import Cache, DiskTier
from samovar.cache.alias import AliasTable
from tests.core.cache.support import PixelSegmenter, entry_of, picture, pictures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

HERE = str(Path(samovar.cache.__file__).parent)
BUDGET = 14_000

# Killed at every line when this is set; otherwise at so many of them, spread evenly.
POINTS = 10**9 if os.environ.get("SAMOVAR_STRESS") else 60


def opened(folder: Path) -> Cache:
    tier = DiskTier(folder, BUDGET)
    return Cache([tier], disk=tier, aliases=AliasTable(tier.aliases), placement="always")


def traced(work: Callable[[], object], die_at: int) -> int:
    """In a forked child: run `work`, killed at the `die_at`-th line of the cache; how many lines it came to run."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        lines = 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal lines
            if not frame.f_code.co_filename.startswith(HERE):
                return None
            if event == "line":
                lines += 1
                if lines == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(None)
            os.write(writing, str(lines).encode())
            os._exit(0)
    os.close(writing)
    counted = os.read(reading, 20)
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if counted:
        return int(counted)
    assert os.WIFSIGNALED(status)
    return die_at


def check(folder: Path, segmenter: PixelSegmenter) -> None:
    """What a process finds that comes after the killed one."""
    cache = opened(folder)
    images = pictures(4)
    found = cache.get_or_encode(images, segmenter)
    assert all(segmenter.made(embedding, image) for embedding, image in zip(found.embeddings, images))
    files = list(folder.rglob("*.emb"))
    assert sum(path.stat().st_size for path in files) <= BUDGET
    assert [cache.get_or_encode([picture(99)], segmenter).encoded for _ in range(2)] == [1, 0], "and it can put again"
    verified = cache.verify()
    assert verified.damaged == ()
    assert cache.disk is not None
    assert cache.disk.ledger.shelf.nbytes == sum(path.stat().st_size for path in folder.rglob("*.emb"))
    left = [path for name in ("tmp", "locks") for path in (folder / "v1" / name).iterdir()]
    assert left == [], "what the killed process left behind is cleared away"


def kill_everywhere(start: Path, scratch: Path, work: Callable[[Path], object], segmenter: PixelSegmenter) -> int:
    """Kill `work` at line after line, each time on a copy of `start`; how many times."""

    def attempt(die_at: int) -> int:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(start, scratch)
        lines = traced(lambda: work(scratch), die_at)
        check(scratch, segmenter)
        return lines

    total = attempt(10**9)
    step = max(1, total // POINTS)
    points = range(1, total + 1, step)
    for die_at in points:
        attempt(die_at)
    return len(points)


def test_killed_while_encoding_publishing_and_evicting(tmp_path: Path) -> None:
    segmenter = PixelSegmenter(padding=2500)
    start = tmp_path / "start"
    opened(start).get_or_encode(pictures(4), segmenter)
    assert len(list(start.rglob("*.emb"))) == 4, "the budget is all but used up: the next put evicts"

    def work(folder: Path) -> None:
        opened(folder).get_or_encode([*pictures(6)[3:]], segmenter, encode_batch=2)

    assert kill_everywhere(start, tmp_path / "scratch", work, segmenter) >= 50


def test_killed_while_making_a_new_folder(tmp_path: Path) -> None:
    segmenter, start = PixelSegmenter(), tmp_path / "start"
    start.mkdir()

    def work(folder: Path) -> None:
        cache = opened(folder)
        cache.get_or_encode(pictures(2), segmenter)
        cache.flush()

    assert kill_everywhere(start, tmp_path / "scratch", work, segmenter) >= 50


def test_killed_while_compacting_the_ledger_and_pruning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samovar.cache.ledger.SLACK_BYTES", 0)
    monkeypatch.setattr("samovar.cache.ledger.ROW_BYTES", 40)
    segmenter, start = PixelSegmenter(padding=2500), tmp_path / "start"
    opened(start).get_or_encode(pictures(4), segmenter)

    def work(folder: Path) -> None:
        cache = opened(folder)
        assert cache.disk is not None
        cache.disk.put(entry_of(1))
        cache.prune(max_bytes=5000)
        cache.disk.put(entry_of(2))

    assert kill_everywhere(start, tmp_path / "scratch", work, segmenter) >= 50


def test_killed_while_clearing(tmp_path: Path) -> None:
    segmenter, start = PixelSegmenter(padding=2500), tmp_path / "start"
    opened(start).get_or_encode(pictures(4), segmenter)
    assert kill_everywhere(start, tmp_path / "scratch", lambda folder: opened(folder).clear(), segmenter) >= 50
