"""Never wrong, and never in the way: whatever becomes of the folder, requests are answered, and rightly."""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samovar.cache import Cache, DiskTier, MemoryTier, TierTraits
from tests.core.cache.support import PixelSegmenter, entry_of, pictures

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

BUDGET = 1 << 20


def opened(folder: Path, budget: int = BUDGET) -> Cache:
    """A cache without a memory tier: every lookup is of the disk."""
    tier = DiskTier(folder, budget)
    return Cache([tier], disk=tier, admission="always")


def look(cache: Cache, segmenter: PixelSegmenter, count: int = 5) -> int:
    """Look up `count` images, check the answers; how many had to be encoded."""
    images = pictures(count)
    found = cache.get_or_encode(images, segmenter)
    assert all(segmenter.made(embedding, image) for embedding, image in zip(found.embeddings, images))
    return found.encoded


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.emb"))


def in_child(work: Callable[[], object]) -> None:
    """Run `work` in a forked child, which may do to itself what it likes. Fails if it raises."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001  (whatever it is must not reach pytest twice)
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0


# ------------------------------------------------------------------------------------------------ damage

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half of the preamble": lambda data: data[:24],
    "half of the header": lambda data: data[:150],
    "half of the tensors": lambda data: data[: len(data) // 2],
    "all but the last byte": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "zeros from the middle": lambda data: data[: len(data) // 2].ljust(len(data), b"\0"),
    "a bit in the magic": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a bit in the header": lambda data: data[:90] + bytes([data[90] ^ 4]) + data[91:],
    "a bit in the last tensor": lambda data: data[:-64] + bytes([data[-64] ^ 128]) + data[-63:],
    "twice": lambda data: data + data,
    "text": lambda data: b"hello\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_dropped_and_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    segmenter = PixelSegmenter(padding=9000)
    look(opened(tmp_path), segmenter)
    victim = files(tmp_path)[2]
    victim.write_bytes(damage(victim.read_bytes()))
    cache = opened(tmp_path)
    assert look(cache, segmenter) == 1
    assert look(opened(tmp_path), segmenter) == 0
    assert sum(row.counts.damaged for row in cache.stats()) == 1


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_entry_that_is_damaged_after_it_was_read_once_is_checked_again(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    segmenter, cache = PixelSegmenter(padding=9000), opened(tmp_path)
    look(cache, segmenter)
    assert look(cache, segmenter) == 0
    victim = files(tmp_path)[2]
    victim.write_bytes(damage(victim.read_bytes()))
    assert look(cache, segmenter) == 1


def test_verify_checks_files_that_have_not_changed_too(tmp_path: Path) -> None:
    segmenter, cache = PixelSegmenter(padding=9000), opened(tmp_path)
    look(cache, segmenter)
    look(cache, segmenter)
    assert cache.disk is not None
    victim = files(tmp_path)[2]
    data = bytearray(victim.read_bytes())
    data[-500] ^= 1
    victim.write_bytes(data)
    status = victim.stat()
    # As if the disk had changed by itself: the version is one that was checked before.
    cache.disk._trusted[victim.stem] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert cache.verify().damaged == (victim.stem,)


def test_an_entry_under_the_wrong_name_is_not_served(tmp_path: Path) -> None:
    segmenter = PixelSegmenter()
    look(opened(tmp_path), segmenter)
    first, second = files(tmp_path)[:2]
    shutil.copy(first, second)
    assert look(opened(tmp_path), segmenter) == 1


def test_verify_drops_and_counts_what_is_damaged(tmp_path: Path) -> None:
    segmenter = PixelSegmenter(padding=5000)
    look(opened(tmp_path), segmenter, 8)
    for number, victim in enumerate(files(tmp_path)[:3]):
        data = bytearray(victim.read_bytes())
        data[100 + 1000 * number] ^= 1
        victim.write_bytes(data)
    check = opened(tmp_path).verify()
    assert check.entries == 8
    assert len(check.damaged) == 3
    assert len(files(tmp_path)) == 5
    again = opened(tmp_path).verify()
    assert (again.entries, again.damaged) == (5, ())


def noted(folder: Path) -> int:
    """Bytes by the index."""
    return sum(info.nbytes for info, _ in DiskTier(folder, 1).index.infos().values())


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    segmenter = PixelSegmenter(padding=3000)
    look(opened(tmp_path), segmenter)
    gc.collect()  # closes the database
    index = tmp_path / "v2" / "index.sqlite"
    index.write_bytes(damage(index.read_bytes()))
    cache = opened(tmp_path)
    assert look(cache, segmenter) == 0
    assert look(cache, segmenter, 7) == 2
    assert noted(tmp_path) == sum(path.stat().st_size for path in files(tmp_path))
    cache.close()
    assert {row.tier: row.entries for row in opened(tmp_path).stats()}["disk"] == 7


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_index_that_is_damaged_while_in_use_is_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    segmenter, cache = PixelSegmenter(padding=3000), opened(tmp_path)
    look(cache, segmenter)
    fresh = tmp_path / "fresh"
    fresh.write_bytes(damage((tmp_path / "v2" / "index.sqlite").read_bytes()))
    fresh.replace(tmp_path / "v2" / "index.sqlite")
    assert look(cache, segmenter, 7) == 2
    assert look(opened(tmp_path), segmenter, 9) == 2
    opened(tmp_path).verify()
    assert noted(tmp_path) == sum(path.stat().st_size for path in files(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_aliases_in_a_damaged_index_are_as_none(tmp_path: Path, photo: Path, damage: Callable[[bytes], bytes]) -> None:
    from samovar import Image

    segmenter = PixelSegmenter()
    opened(tmp_path).get_or_encode([Image(photo)], segmenter)
    gc.collect()
    index = tmp_path / "v2" / "index.sqlite"
    index.write_bytes(damage(index.read_bytes()))
    found = opened(tmp_path).get_or_encode([Image(photo)], segmenter)
    assert found.encoded == 0
    assert segmenter.made(found.embeddings[0], Image(photo))


def test_an_index_of_another_layout_is_not_misread(tmp_path: Path) -> None:
    segmenter = PixelSegmenter(padding=3000)
    look(opened(tmp_path), segmenter)
    gc.collect()
    db = sqlite3.connect(tmp_path / "v2" / "index.sqlite")
    db.executescript("DROP TABLE entries; DROP TABLE aliases; CREATE TABLE aliases(other TEXT)")
    db.close()
    cache = opened(tmp_path)
    assert look(cache, segmenter, 7) == 2
    assert noted(tmp_path) == sum(path.stat().st_size for path in files(tmp_path))


def test_foreign_files_in_the_folder_do_no_harm(tmp_path: Path) -> None:
    segmenter = PixelSegmenter()
    look(opened(tmp_path), segmenter)
    for name in ("entries/zz/zz-top.emb", "entries/zz/notes.emb", "entries/README", "entries/ab/.DS_Store", "stray"):
        path = tmp_path / "v2" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not an entry")
    cache = opened(tmp_path)
    (tmp_path / "v2" / "index.sqlite").unlink()
    assert look(cache, segmenter) == 0
    assert cache.verify().damaged == ("zz-top",), "and what cannot be ours is left alone"
    assert len(files(tmp_path)) == 6


# -------------------------------------------------------------------------------------------- full disks


def degrades(cache: Cache, segmenter: PixelSegmenter, caplog: pytest.LogCaptureFixture) -> None:
    """Every request is answered, nothing new is kept, and one warning says so."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert look(cache, segmenter) == 5
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the disk tier of the cache is not used for now" in caplog.text


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_degrades_to_no_cache_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    def full(fd: int, data: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        degrades(opened(tmp_path), PixelSegmenter(), caplog)
    assert files(tmp_path) == []
    assert list((tmp_path / "v2" / "tmp").iterdir()) == []


def test_a_write_that_is_cut_short_leaves_nothing_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel refuses bytes beyond a limit, as a full disk does, in the middle of a file."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        degrades(opened(tmp_path), PixelSegmenter(padding=9000), caplog)

    in_child(limited)
    assert files(tmp_path) == []
    assert list((tmp_path / "v2" / "tmp").iterdir()) == []
    assert look(opened(tmp_path), PixelSegmenter(padding=9000)) == 5
    assert look(opened(tmp_path), PixelSegmenter(padding=9000)) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 512 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_really_full_disk_keeps_what_fits_and_answers_the_rest(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter, cache = PixelSegmenter(padding=30_000), opened(small_disk, 1 << 30)
    assert look(cache, segmenter, 20) == 20
    kept = len(files(small_disk))
    assert 3 <= kept < 20
    assert look(opened(small_disk), segmenter, 20) == 20 - kept
    assert caplog.text.count("is not used for now") <= 2, "one warning a cache"
    assert opened(small_disk).verify().damaged == ()


@pytest.mark.parametrize("work", ["prune", "clear", "verify"])
def test_a_full_disk_can_be_looked_after_and_emptied(small_disk: Path, work: str) -> None:
    look(opened(small_disk, 1 << 30), PixelSegmenter(padding=60_000), 4)
    with suppress(OSError), (small_disk / "somebody else's").open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    cache = opened(small_disk, 1 << 30)
    if work == "verify":
        assert cache.verify().entries == 4
        return
    count, nbytes = cache.prune(max_bytes=0) if work == "prune" else cache.clear()
    assert (count, files(small_disk)) == (4, [])
    assert nbytes > 4 * 60_000
    assert look(opened(small_disk, 1 << 30), PixelSegmenter(padding=10_000), 4) == 4
    assert look(opened(small_disk, 1 << 30), PixelSegmenter(padding=10_000), 4) == 0


# ------------------------------------------------------------------------------------- folders that change


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that every user may reach."""
    folder = Path(tempfile.mkdtemp(prefix="samovar-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_folder_is_read_and_nothing_else(common: Path, caplog: pytest.LogCaptureFixture) -> None:
    segmenter = PixelSegmenter()
    look(opened(common / "cache"), segmenter)
    for path in (common / "cache").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (common / "cache").chmod(0o555)

    def as_somebody_else() -> None:
        if os.geteuid() == 0:  # to whom nothing is read-only
            os.setgid(65534)
            os.setuid(65534)
        cache = opened(common / "cache")
        with caplog.at_level(logging.WARNING):
            assert look(cache, segmenter) == 0
            assert look(cache, segmenter, 7) == 2
            assert look(cache, segmenter, 7) == 2
            cache.close()
        assert len(caplog.records) == 1, caplog.text

    in_child(as_somebody_else)
    for path in [common / "cache", *(common / "cache").rglob("*")]:
        path.chmod(0o755)
    assert len(files(common)) == 5


def test_a_folder_where_a_file_lies_degrades_to_no_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("in the way")
    degrades(opened(tmp_path / "cache"), PixelSegmenter(), caplog)


def test_a_folder_deleted_between_requests_is_made_again(tmp_path: Path) -> None:
    segmenter, cache = PixelSegmenter(), opened(tmp_path / "cache")
    for _ in range(3):
        assert look(cache, segmenter) == 5
        assert look(cache, segmenter) == 0
        shutil.rmtree(tmp_path / "cache")


@pytest.mark.slow
def test_a_folder_deleted_again_and_again_while_in_use_never_disturbs(tmp_path: Path) -> None:
    segmenter, done = PixelSegmenter(padding=2000), threading.Event()

    def delete() -> None:
        while not done.is_set():
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            time.sleep(0.001)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for turn in range(60):
            look(opened(tmp_path / "cache"), segmenter, 3 + turn % 3)
    finally:
        done.set()
        thread.join()
    cache = opened(tmp_path / "cache")
    look(cache, segmenter)
    assert look(cache, segmenter) == 0


def test_a_tier_that_raises_anything_at_all_never_fails_a_request(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        name = "broken"
        traits = TierTraits(persistent=True)

        def get(self, key: str) -> None:
            raise ConnectionResetError("the server has gone")

        def put(self, entry: object) -> list[Any]:
            raise KeyError("no idea")

        def delete(self, key: str) -> bool:
            raise RuntimeError

        def entries(self) -> Iterator[Any]:
            raise RuntimeError

    segmenter, cache = PixelSegmenter(), Cache([MemoryTier(BUDGET), Broken()], admission="always")
    assert look(cache, segmenter) == 5
    assert look(cache, segmenter) == 0
    assert len(caplog.records) == 1


def test_a_tier_that_failed_is_left_alone_for_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Down(MemoryTier):
        name = "down"

        def get(self, key: str) -> Any:
            asked.append("get")
            raise TimeoutError("no answer")

        def put(self, entry: Any) -> Any:
            asked.append("put")
            raise TimeoutError("no answer")

    now = 1000.0
    monkeypatch.setattr("samovar.cache.store.time.monotonic", lambda: now)
    segmenter, cache = PixelSegmenter(), Cache([Down(BUDGET)], admission="always")
    for now, times in ((1000.0, 1), (1001.0, 1), (1029.0, 1), (1031.0, 2)):  # noqa: B007  (the clock reads it)
        look(cache, segmenter)
        assert (asked.count("get"), asked.count("put")) == (times, times)


# ------------------------------------------------------------------------------------- versions and clocks


def test_two_versions_of_the_layout_share_a_folder_and_never_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = PixelSegmenter()
    old = opened(tmp_path)
    look(old, segmenter)
    with monkeypatch.context() as patched:
        for module in ("entry", "disk"):
            patched.setattr(f"samovar.cache.{module}.SCHEMA", 9)
        patched.setattr("samovar.cache.entry.VERSION", 9)
        assert look(opened(tmp_path), segmenter) == 5
        assert look(opened(tmp_path), segmenter) == 0
    assert look(old, segmenter) == 0
    assert look(opened(tmp_path), segmenter) == 0
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"v2", "v9"}


def test_an_entry_of_another_layout_in_our_folder_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = DiskTier(tmp_path, BUDGET)
    with monkeypatch.context() as patched:
        patched.setattr("samovar.cache.entry.VERSION", 2)
        tier.put(entry_of(1))
    assert tier.get(entry_of(1).key) is None


@pytest.mark.parametrize("jump", [-10 * 365 * 86400, 10 * 365 * 86400, -1.7e9])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    segmenter, cache = PixelSegmenter(padding=2000), opened(tmp_path, 20_000)
    look(cache, segmenter)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert look(cache, segmenter) == 0
    assert look(opened(tmp_path, 20_000), segmenter) == 0
    for seed in range(20, 30):
        assert cache.disk is not None
        cache.disk.put(entry_of(seed, nbytes=2000, cost=1e-7))
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 20_000
    monkeypatch.undo()
    look(cache, segmenter)
    assert look(opened(tmp_path, 20_000), segmenter) == 0


def test_pruning_by_age_spares_entries_from_the_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, real = PixelSegmenter(), time.time
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: real() + 86400 * 365)
        look(opened(tmp_path), segmenter)
    cache = opened(tmp_path)
    assert cache.prune(older_than=60) == (0, 0)
    assert look(cache, segmenter) == 0


def test_entries_survive_being_copied_to_another_machine(tmp_path: Path) -> None:
    """New owners, inodes and time stamps: none of them matters."""
    segmenter = PixelSegmenter()
    look(opened(tmp_path / "here"), segmenter)
    shutil.copytree(tmp_path / "here", tmp_path / "there", copy_function=shutil.copyfile)
    cache = opened(tmp_path / "there")
    assert look(cache, segmenter) == 0
    assert np.isclose(sum(row.nbytes for row in cache.stats()), sum(p.stat().st_size for p in files(tmp_path / "here")))


@pytest.mark.slow
def test_an_index_found_damaged_in_the_middle_of_a_put_forgets_no_entry(tmp_path: Path) -> None:
    """A page that nobody reads on opening the database: whoever comes upon it makes all of the index anew."""
    segmenter, cache = PixelSegmenter(padding=3000), opened(tmp_path)
    look(cache, segmenter, 30)
    cache.close()
    assert cache.disk is not None
    db = sqlite3.connect(tmp_path / "v2" / "index.sqlite")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size, (root,) = (
        db.execute("PRAGMA page_size").fetchone()[0],
        db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'worst'").fetchone(),
    )
    db.close()
    del cache
    gc.collect()
    index = tmp_path / "v2" / "index.sqlite"
    data = bytearray(index.read_bytes())
    data[(root - 1) * size : root * size] = b"\xff" * size
    index.write_bytes(data)
    assert look(opened(tmp_path), segmenter, 33) == 3
    assert noted(tmp_path) == sum(path.stat().st_size for path in files(tmp_path))
