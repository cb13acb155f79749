"""Locks: one holder at a time, and none for ever."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from samovar.cache import Cache, encoding, files, ledger, locks
from samovar.cache.disk import DiskTier
from samovar.cache.files import TemporaryFile, sweep
from samovar.cache.locks import FileLock, LeaseLock, make_lock, wait_for
from tests.core.cache.support import PixelSegmenter, entry_of, picture

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

KINDS = [FileLock, LeaseLock]


@pytest.mark.parametrize("kind", KINDS)
def test_one_holder_at_a_time(tmp_path: Path, kind: Any) -> None:
    one, other = kind(tmp_path / "lock"), kind(tmp_path / "lock")
    assert one.try_acquire()
    assert not other.try_acquire()
    one.release()
    assert other.try_acquire()
    other.release(remove=True)
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_releasing_what_is_not_held_does_nothing(tmp_path: Path, kind: Any) -> None:
    holder, other = kind(tmp_path / "lock"), kind(tmp_path / "lock")
    assert holder.try_acquire()
    other.release(remove=True)
    assert not other.try_acquire()
    holder.release()
    holder.release()


@pytest.mark.parametrize("kind", KINDS)
def test_never_two_holders_however_many_try_and_remove(tmp_path: Path, kind: Any) -> None:
    inside, most, done = [0], [0], [0]

    def work() -> None:
        for _ in range(40):
            lock = kind(tmp_path / "lock")
            assert wait_for(lock, 20)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0)
            inside[0] -= 1
            done[0] += 1
            lock.release(remove=True)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert done == [240]


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_ends_after_so_many_seconds(tmp_path: Path, kind: Any) -> None:
    holder = kind(tmp_path / "lock")
    assert holder.try_acquire()
    began = time.monotonic()
    assert not wait_for(kind(tmp_path / "lock"), 0.1)
    assert time.monotonic() - began >= 0.1
    holder.release()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_folder_is_an_os_error(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(OSError, match="No such file"):
        kind(tmp_path / "missing" / "lock").try_acquire()


def killed_holder(lock: FileLock | LeaseLock) -> None:
    """Let a child take the lock and die of SIGKILL."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b"y" if lock.try_acquire() else b"n")
        time.sleep(1000)
    assert os.read(reading, 1) == b"y"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)


def test_the_kernel_frees_the_lock_of_a_killed_holder_at_once(tmp_path: Path) -> None:
    killed_holder(FileLock(tmp_path / "lock"))
    assert FileLock(tmp_path / "lock").try_acquire()


def test_the_lease_of_a_killed_holder_runs_out(tmp_path: Path) -> None:
    killed_holder(LeaseLock(tmp_path / "lock", lease=0.2))
    lock = LeaseLock(tmp_path / "lock", lease=0.2)
    began = time.monotonic()
    assert wait_for(lock, 10)
    assert time.monotonic() - began >= 0.2
    lock.release()


def test_a_living_holder_touches_its_lease(tmp_path: Path) -> None:
    holder = LeaseLock(tmp_path / "lock", lease=0.2)
    assert holder.try_acquire()
    os.utime(tmp_path / "lock", (0, 0))
    deadline = time.monotonic() + 60
    while (tmp_path / "lock").stat().st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    holder.release()


def test_a_lease_that_is_touched_does_not_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LeaseLock(tmp_path / "lock", lease=1000).try_acquire()
    other = LeaseLock(tmp_path / "lock", lease=10)
    now = 0.0
    monkeypatch.setattr("samovar.cache.locks.time.monotonic", lambda: now)
    for number in range(5):
        os.utime(tmp_path / "lock", (number, number))
        assert not other.try_acquire()
        now += 9
        assert not other.try_acquire()
    now += 2
    assert not other.try_acquire(), "frees it"
    assert other.try_acquire()
    other.release()


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_clocks_that_jump_neither_free_nor_keep_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    assert LeaseLock(tmp_path / "lock", lease=1000).try_acquire()
    os.utime(tmp_path / "lock", (time.time() + jump, time.time() + jump))
    other = LeaseLock(tmp_path / "lock", lease=10)
    assert not wait_for(other, 0.05)
    now = time.monotonic() + 11
    monkeypatch.setattr("samovar.cache.locks.time.monotonic", lambda: now)
    assert [other.try_acquire() for _ in range(2)] == [False, True]
    other.release()


def test_a_child_does_not_hold_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    """An inherited descriptor would: the lock belongs to the open file, not to the process."""
    grandchild_lives = tmp_path / "lives"
    pid = os.fork()
    if pid == 0:
        lock = FileLock(tmp_path / "lock")
        lock.try_acquire()
        if os.fork() == 0:
            grandchild_lives.touch()
            time.sleep(5)
            os._exit(0)
        while not grandchild_lives.exists():
            time.sleep(0.005)
        os._exit(0)
    os.waitpid(pid, 0)
    assert FileLock(tmp_path / "lock").try_acquire()


def test_a_file_system_without_locks_gets_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: int) -> bool:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(locks, "lock_descriptor", unsupported)
    lock = make_lock(tmp_path / "lock")
    assert isinstance(lock, LeaseLock)
    assert lock.try_acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_with_locks_gets_those(tmp_path: Path) -> None:
    assert isinstance(make_lock(tmp_path / "lock"), FileLock)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def only_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file system has locks, and a lease that nobody touches runs out in no time."""
    monkeypatch.setattr(locks, "_kinds", {})
    monkeypatch.setattr(locks, "_probe", lambda folder: partial(LeaseLock, lease=0.1))


@pytest.mark.usefixtures("only_leases")
def test_the_ledger_outlives_one_killed_in_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 0.01)  # shorter than a lease, as it is
    tier = DiskTier(tmp_path, 1 << 20)
    tier.put(entry_of(1))
    (tier.root / "ledger.lock").touch()
    deadline = time.monotonic() + 60
    while not tier.contains(entry_of(2).key):
        assert time.monotonic() < deadline
        with suppress(TimeoutError):
            tier.put(entry_of(2))


@pytest.mark.usefixtures("only_leases")
def test_an_image_is_encoded_though_one_was_killed_encoding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "PATIENCE", 5.0)
    cache, segmenter, image = Cache.open(tmp_path), PixelSegmenter(), picture(1)
    assert cache.disk is not None
    abandoned = cache.disk.lock(cache.key(image, segmenter)).path
    abandoned.touch()
    assert segmenter.made(cache.get_or_encode([image], segmenter).embeddings[0], image)
    cache.close()
    assert not abandoned.exists(), "nobody had the patience to wait for the dead"


@pytest.mark.parametrize("open_files_stay", [False, True])
def test_sweeping_removes_what_the_dead_left_and_spares_the_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_files_stay: bool
) -> None:
    monkeypatch.setattr(files, "OPEN_FILES_STAY", open_files_stay)
    (tmp_path / "left over").write_bytes(b"half a file")
    with TemporaryFile(tmp_path) as living:
        living.write([b"data"])
        assert sweep(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [living.path]
        living.publish(tmp_path / "published")
    assert (tmp_path / "published").read_bytes() == b"data"
    assert sweep(tmp_path / "missing") == 0
