"""The shared tier: a team encodes once, over whatever file system it shares."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from samovar.cache import Cache, CacheConfig, DiskTier, MemoryTier
from samovar.cache.shared import SharedTier, open_shared
from samovar.errors import CacheError
from tests.core.cache.support import PixelSegmenter, entry_of, pictures

fsspec: Any = pytest.importorskip("fsspec")


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, and a store in which files appear whole, as they do on S3."""
    yield f"file://{tmp_path}/team" if request.param == "file" else "memory://team/cache"
    fsspec.filesystem("memory").store.clear()


def files(url: str) -> list[str]:
    fs, root = fsspec.core.url_to_fs(url)
    return sorted(fs.find(root)) if fs.exists(root) else []


def damage(url: str, index: int) -> None:
    fs, _ = fsspec.core.url_to_fs(url)
    path = files(url)[index]
    fs.pipe_file(path, fs.cat_file(path)[:-5])


def test_another_machine_finds_what_this_one_encoded(tmp_path: Path, url: str) -> None:
    segmenter, images = PixelSegmenter(), pictures(4)

    def machine(name: str) -> Cache:
        disk = DiskTier(tmp_path / name, 1 << 20)
        return Cache([MemoryTier(1 << 20), disk, SharedTier(url)], disk=disk, admission="always")

    first = machine("one")
    first.get_or_encode(images, segmenter)
    assert first.store.wait(60)
    second = machine("two")
    found = second.get_or_encode(images, segmenter)
    assert found.encoded == 0
    assert all(segmenter.made(embedding, image) for embedding, image in zip(found.embeddings, images))
    assert len(list((tmp_path / "two").rglob("*.emb"))) == 4, "and keeps it at hand"
    assert {row.tier: row.counts.hits for row in second.stats()}["shared"] == 4


def test_writing_to_a_slow_place_does_not_keep_the_caller_waiting(tmp_path: Path) -> None:
    answered, waited = threading.Event(), list[bool]()

    class Slow(SharedTier):
        def put(self, entry: Any) -> Any:
            waited.append(answered.wait(60))
            return super().put(entry)

    cache = Cache([MemoryTier(1 << 20), Slow(f"file://{tmp_path}")], admission="always")
    cache.get_or_encode(pictures(3), PixelSegmenter())
    answered.set()
    cache.close()
    assert waited == [True] * 3, "the caller had its answer first"
    assert len(files(f"file://{tmp_path}")) == 3, "closing waits for it"


def test_clearing_takes_what_is_still_being_written_too(tmp_path: Path) -> None:
    class Slow(SharedTier):
        def put(self, entry: Any) -> Any:
            time.sleep(0.1)
            return super().put(entry)

    cache = Cache([Slow(f"file://{tmp_path}")], admission="always")
    cache.get_or_encode(pictures(3), PixelSegmenter())
    assert cache.clear()[0] == 3
    cache.close()
    assert files(f"file://{tmp_path}") == []


def test_a_damaged_file_is_dropped_and_made_again(url: str) -> None:
    segmenter, images = PixelSegmenter(), pictures(3)
    cache = Cache([SharedTier(url)], admission="always")
    cache.get_or_encode(images, segmenter)
    cache.close()
    damage(url, 1)
    found = cache.get_or_encode(images, segmenter)
    assert found.encoded == 1
    assert all(segmenter.made(embedding, image) for embedding, image in zip(found.embeddings, images))
    cache.close()
    damage(url, 0)
    assert len(cache.verify().damaged) == 1
    assert len(files(url)) == 2


def test_a_place_that_cannot_be_reached_costs_nothing_but_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    tier = SharedTier(url)

    def unreachable(*arguments: Any, **options: Any) -> Any:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tier, "_fs", type("Gone", (), {"cat_file": unreachable, "makedirs": unreachable})())
    segmenter, cache = PixelSegmenter(), Cache([MemoryTier(1 << 20), tier], admission="always")
    for _ in range(3):
        cache.get_or_encode(pictures(3), segmenter)
    cache.close()
    assert len(segmenter.encoded) == 3
    assert len(caplog.records) == 1


def test_no_half_written_file_is_left_where_files_do_not_appear_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = SharedTier(f"file://{tmp_path}")

    def fails(*arguments: object) -> None:
        raise OSError("the network has gone")

    monkeypatch.setattr(tier, "_rename", fails)
    with pytest.raises(OSError, match="network"):
        tier.put(entry_of(1))
    assert files(f"file://{tmp_path}") == []


def test_pruning_drops_the_oldest(url: str) -> None:
    tier = SharedTier(url)
    for seed in range(4):
        tier.put(entry_of(seed))
        time.sleep(0.02)
    each = next(iter(tier.entries())).nbytes
    dropped = tier.evict(2 * each)
    assert [one.info.key for one in dropped] == [entry_of(0).key, entry_of(1).key]
    assert len(tier.evict(None, unused_since=time.time() + 10)) == 2
    assert files(url) == []


def test_foreign_files_are_left_alone(url: str) -> None:
    tier = SharedTier(url)
    tier.put(entry_of(1))
    fs, root = fsspec.core.url_to_fs(url)
    fs.makedirs(f"{root}/v1/entries/zz", exist_ok=True)
    fs.pipe_file(f"{root}/v1/entries/zz/notes.emb", b"not an entry")
    assert [info.key for info in tier.entries()] == [entry_of(1).key]


def test_it_is_opened_by_its_url_in_the_settings(tmp_path: Path) -> None:
    config = CacheConfig.load(folder=tmp_path / "disk", tiers=f"memory,disk,shared=file://{tmp_path}/team")
    assert [tier.name for tier in Cache.open(config).tiers] == ["memory", "disk", "shared"]


def test_without_a_url_it_is_refused() -> None:
    with pytest.raises(CacheError, match='expected "shared=URL"'):
        open_shared(None)
