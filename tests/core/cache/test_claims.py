"""Claims between processes: one holder at a time, and none for ever; and what the dead left is swept up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from samovar.cache import disk
from samovar.cache.disk import Claim, TemporaryFile, sweep

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    one, other = Claim(tmp_path / "lock"), Claim(tmp_path / "lock")
    assert one.acquire()
    assert not other.acquire()
    one.release()
    assert other.acquire()
    other.release()
    assert not (tmp_path / "lock").exists()


def test_never_two_holders_however_many_try(tmp_path: Path) -> None:
    inside, most, done = [0], [0], [0]

    def work() -> None:
        for _ in range(40):
            claim = Claim(tmp_path / "lock")
            while not claim.acquire():
                time.sleep(0.0005)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0)
            inside[0] -= 1
            done[0] += 1
            claim.release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert done == [240]


def test_a_folder_that_cannot_be_used_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Claim(tmp_path / "file" / "lock").acquire()


def in_child(work: Callable[[], bool]) -> int:
    """A child that has done `work`, which was right, and now sleeps."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, b"y" if work() else b"n")
            os.close(writing)
            time.sleep(100)
        finally:
            os._exit(1)
    os.close(writing)
    assert os.read(reading, 1) == b"y"
    os.close(reading)
    return pid


def test_the_kernel_frees_the_claim_of_a_killed_holder_at_once(tmp_path: Path) -> None:
    claims: list[Claim] = []  # one that nobody refers to lets go

    def hold() -> bool:
        claims.append(Claim(tmp_path / "lock"))
        return claims[0].acquire()

    pid = in_child(hold)
    assert not Claim(tmp_path / "lock").acquire()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert Claim(tmp_path / "lock").acquire()


def test_a_child_does_not_hold_the_claim_of_its_dead_parent(tmp_path: Path) -> None:
    """An inherited descriptor would: the lock belongs to the open file, not to the process."""
    grandchild = tmp_path / "grandchild"

    def parent() -> bool:
        claim = Claim(tmp_path / "lock")
        held = claim.acquire()
        grandchild.write_text(str(in_child(lambda: True)))
        return held

    pid = in_child(parent)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        assert Claim(tmp_path / "lock").acquire()
    finally:
        os.kill(int(grandchild.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("open_files_stay", [False, True])
def test_sweeping_removes_what_the_dead_left_and_spares_the_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_files_stay: bool
) -> None:
    monkeypatch.setattr(disk, "OPEN_FILES_STAY", open_files_stay)
    (tmp_path / "left over").write_bytes(b"half a file")
    with TemporaryFile(tmp_path) as living:
        living.write([b"data"])
        assert sweep(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [living.path]
        living.publish(tmp_path / "published")
    assert (tmp_path / "published").read_bytes() == b"data"
    assert sweep(tmp_path / "missing") == 0
