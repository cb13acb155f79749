"""The disk tier on a good day: what is put is there, for everybody, within the budget."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from samovar.cache import DiskTier, Entry, disk
from samovar.cache.index import AliasTable
from samovar.cache.tiers import CacheTier
from samovar.errors import CacheError
from tests.core.cache.support import entry_of


def same(one: Entry | None, other: Entry) -> bool:
    return one is not None and np.array_equal(one.unpack().tensors["tensor"], other.unpack().tensors["tensor"])


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.emb"))


def noted(folder: Path) -> int:
    """Bytes by the index."""
    return sum(info.nbytes for info, _ in DiskTier(folder, 1).index.infos().values())


def test_it_is_a_tier(tmp_path: Path) -> None:
    assert isinstance(DiskTier(tmp_path, 1), CacheTier)


def test_a_negative_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="at least 0 bytes; got -1"):
        DiskTier(tmp_path, -1)


def test_what_is_put_is_found_by_every_process(tmp_path: Path) -> None:
    DiskTier(tmp_path, 1 << 20).put(entry_of(1))
    other = DiskTier(tmp_path, 1 << 20)
    assert same(other.get(entry_of(1).key), entry_of(1))
    assert other.get(entry_of(2).key) is None


def test_it_needs_nothing_that_windows_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pread", "pwrite", "O_CLOEXEC"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(disk, "OPEN_FILES_STAY", True)
    monkeypatch.setattr(disk, "fcntl", None)
    tier = DiskTier(tmp_path, 4000)
    aliases = AliasTable(tier.index)
    for number in range(5):
        tier.put(entry_of(number))
        aliases.put(f"{number:064x}", f"{number:064x}")
    assert same(tier.get(entry_of(4).key), entry_of(4))
    assert used(tmp_path) <= 4000
    assert tier.tidy() == 0
    assert AliasTable(DiskTier(tmp_path, 4000).index).get(f"{4:064x}") == f"{4:064x}"


def test_an_empty_or_missing_folder_holds_nothing_and_reading_does_not_make_it(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path / "cache", 1 << 20)
    assert tier.get(entry_of(1).key) is None
    assert not tier.delete(entry_of(1).key)
    assert list(tier.entries()) == []
    assert tier.evict(0) == []
    assert tier.tidy() == 0
    assert not (tmp_path / "cache").exists()


def test_putting_again_replaces(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 1 << 20)
    tier.put(entry_of(1))
    tier.put(entry_of(2, key=entry_of(1).key))
    assert same(tier.get(entry_of(1).key), entry_of(2))
    assert [info.key for info in tier.entries()] == [entry_of(1).key]


def test_deleting(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 1 << 20)
    tier.put(entry_of(1))
    assert tier.delete(entry_of(1).key)
    assert not tier.delete(entry_of(1).key)
    assert tier.get(entry_of(1).key) is None


def test_entries_say_what_they_cost_and_how_often_they_were_used(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 1 << 20)
    before = time.time()
    tier.put(entry_of(1, cost=2.5))
    for _ in range(3):
        tier.get(entry_of(1).key)
    tier.flush({})
    (info,) = DiskTier(tmp_path, 1 << 20).entries()
    assert (info.key, info.model, info.cost, info.hits) == (entry_of(1).key, "pixels", 2.5, 3)
    assert info.nbytes == used(tmp_path)
    assert before <= info.used <= time.time()


def test_the_budget_holds_whatever_is_put(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 20_000)
    random = np.random.default_rng(0)
    for seed in range(60):
        tier.put(entry_of(seed, nbytes=int(random.integers(1, 6000))))
        assert used(tmp_path) <= 20_000
    assert noted(tmp_path) == used(tmp_path)


def test_several_processes_share_one_budget(tmp_path: Path) -> None:
    tiers = [DiskTier(tmp_path, 20_000) for _ in range(3)]
    for seed in range(60):
        tiers[seed % 3].put(entry_of(seed, nbytes=2000))
        assert used(tmp_path) <= 20_000


def test_a_budget_that_nobody_set_is_a_quarter_of_what_would_be_free_without_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [1_000_000]
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, free[0]))
    for seed in range(20):
        DiskTier(tmp_path, None).put(entry_of(seed, nbytes=10_000))
        free[0] = 1_000_000 - used(tmp_path)
    assert DiskTier(tmp_path, None).max_bytes == 250_000, "what it holds itself does not make it smaller"
    assert used(tmp_path) > 200_000
    free[0] = 100 << 30
    assert DiskTier(tmp_path, None).max_bytes == 20 << 30


def test_an_entry_larger_than_the_budget_is_declined_and_drops_nothing(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 10_000)
    tier.put(entry_of(1))
    assert tier.put(entry_of(2, nbytes=20_000)) == []
    assert tier.get(entry_of(2).key) is None
    assert same(tier.get(entry_of(1).key), entry_of(1))


def test_the_least_valuable_entry_goes_first(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 3 * 2400)
    tier.put(entry_of(1, nbytes=1500, cost=10.0))
    tier.put(entry_of(2, nbytes=1500, cost=0.1))
    tier.put(entry_of(3, nbytes=1500, cost=5.0))
    evicted = tier.put(entry_of(4, nbytes=1500, cost=5.0))
    assert [(one.info.key, one.reason) for one in evicted] == [(entry_of(2).key, "budget")]
    assert tier.get(entry_of(1).key) is not None


def test_hits_of_one_process_count_when_another_evicts(tmp_path: Path) -> None:
    reader, writer = DiskTier(tmp_path, 3 * 2400), DiskTier(tmp_path, 3 * 2400)
    for seed in (1, 2, 3):
        writer.put(entry_of(seed, nbytes=1500))
    for _ in range(5):
        reader.get(entry_of(1).key)
        reader.get(entry_of(3).key)
    reader.flush({})
    assert [one.info.key for one in writer.put(entry_of(4, nbytes=1500))] == [entry_of(2).key]


def test_pruning_to_a_size_and_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = DiskTier(tmp_path, 1 << 20)
    for seed in range(10):
        tier.put(entry_of(seed, nbytes=2000))
    tier.evict(used(tmp_path) // 2)
    assert len(list(tier.entries())) == 5
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    tier.put(entry_of(20))
    evicted = tier.evict(None, unused_since=now + 500)
    assert len(evicted) == 5
    assert {one.reason for one in evicted} == {"old"}
    assert [info.key for info in tier.entries()] == [entry_of(20).key]


def test_the_folder_says_that_it_is_a_cache(tmp_path: Path) -> None:
    """So that backup programs pass by: https://bford.info/cachedir/."""
    DiskTier(tmp_path, 1 << 20).put(entry_of(1))
    assert (tmp_path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_nobody_else_may_read_entries(tmp_path: Path) -> None:
    DiskTier(tmp_path, 1 << 20).put(entry_of(1))
    (file,) = tmp_path.rglob("*.emb")
    assert file.stat().st_mode & 0o077 == 0


def test_durable_entries_are_forced_onto_the_disk_before_they_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    DiskTier(tmp_path, 1 << 20).put(entry_of(1))
    assert synced == []
    DiskTier(tmp_path, 1 << 20, durable=True).put(entry_of(2))
    assert len(synced) == 1


def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    DiskTier(tmp_path, 1 << 20).put(entry_of(1))
    assert (tmp_path / "v2").stat().st_mode & 0o077 == 0


def test_several_processes_agree_on_what_is_there(tmp_path: Path) -> None:
    tier, other = DiskTier(tmp_path, 1 << 20), DiskTier(tmp_path, 1 << 20)
    for seed in range(40):
        (tier, other)[seed % 2].put(entry_of(seed, nbytes=100))
        tier.get(entry_of(seed // 2).key)
    tier.flush({})
    third = DiskTier(tmp_path, 1 << 20)
    assert noted(tmp_path) == used(tmp_path)
    assert {info.key: info.hits for info in third.entries()} == {info.key: info.hits for info in other.entries()}
    assert sum(info.hits for info in third.entries()) == 40


def test_a_hit_writes_nothing(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 1 << 20)
    tier.put(entry_of(1))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    for _ in range(100):
        assert tier.get(entry_of(1).key) is not None
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


# ---------------------------------------------------------------- file systems without locks, and of a network


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No file system has locks; what needs them lies in this folder."""
    monkeypatch.setattr(disk, "lacks_locks", lambda folder: True)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "local"))
    return tmp_path / "local"


def test_where_there_are_no_locks_the_index_lies_elsewhere(tmp_path: Path, local: Path) -> None:
    tier = DiskTier(tmp_path / "cache", 1 << 20)
    tier.put(entry_of(1))
    AliasTable(tier.index).put(f"{1:064x}", f"{2:064x}")
    tier.flush({})
    assert not list((tmp_path / "cache").rglob("*.sqlite*"))
    assert list(local.rglob("index.sqlite"))
    other = DiskTier(tmp_path / "cache", 1 << 20)
    assert same(other.get(entry_of(1).key), entry_of(1))
    assert AliasTable(other.index).get(f"{1:064x}") == f"{2:064x}"


def test_where_there_are_no_locks_claims_hold_within_the_machine(tmp_path: Path, local: Path) -> None:
    claims = [DiskTier(tmp_path / "cache", 1 << 20).claim("ab") for _ in range(2)]
    assert [claim.acquire() for claim in claims] == [True, False]
    claims[0].release()
    assert claims[1].acquire()
    claims[1].release()
    assert not list((tmp_path / "cache").rglob("*.lock"))


def test_what_another_machine_put_counts_within_a_minute(
    tmp_path: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = DiskTier(tmp_path / "cache", 20_000)
    here.put(entry_of(0))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "there"))
    there = DiskTier(tmp_path / "cache", 20_000)
    for seed in range(1, 9):
        there.put(entry_of(seed, nbytes=2000))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    for seed in range(10, 14):
        here.put(entry_of(seed, nbytes=2000))
        assert used(tmp_path) <= 20_000


def test_a_local_file_system_has_locks_and_proc_has_not_a_networks_name(tmp_path: Path) -> None:
    assert not disk.lacks_locks(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_refuses_locks_is_known_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(fd: int, kind: int) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr("fcntl.flock", refused)
    assert disk.lacks_locks(tmp_path)
