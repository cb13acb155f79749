"""Work done in the background: written queue, and prefetched."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path

import pytest

from samovar.cache.concurrency import PrefetchQueue, WriteBehindQueue


def test_work_that_raises_is_told_of_once_and_the_rest_is_done(caplog: pytest.LogCaptureFixture) -> None:
    queue, done = WriteBehindQueue(), list[int]()

    def fails() -> None:
        raise MemoryError("the device is full")

    for number in range(3):
        queue.put(10, fails)
        queue.put(10, partial(done.append, number))
    assert queue.wait(60)
    assert done == [0, 1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "an embedding is not kept by the slower tiers: MemoryError: the device is full"
    ]


def test_who_brings_more_than_may_wait_waits_himself() -> None:
    queue, order = WriteBehindQueue(max_bytes=10), list[int]()
    for number in range(5):
        queue.put(8, partial(order.append, number))
    assert len(order) >= 3, "never more than one of them at a time"
    assert queue.wait(60)
    assert order == [0, 1, 2, 3, 4]


def test_where_no_thread_can_be_started_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the process ends, from Python 3.12 on."""
    queue, done = WriteBehindQueue(), list[int]()
    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    queue.put(10, partial(done.append, 1))
    queue.put(10, partial(done.append, 2))
    assert done == [1, 2]
    assert queue.wait(60)


def no_more_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.slow
def test_the_hint_at_hand_is_finished_and_the_rest_forgotten_when_the_process_ends(tmp_path: Path) -> None:
    program = f"""
        import threading, time
        from functools import partial
        from pathlib import Path
        from samovar.cache.concurrency import PrefetchQueue

        begun = threading.Event()

        def work(number):
            begun.set()
            time.sleep(0.5)
            (Path({str(tmp_path)!r}) / str(number)).touch()

        queue = PrefetchQueue()
        queue.put([partial(work, number) for number in (1, 2, 3)])
        begun.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, timeout=100, check=True
    )
    assert done.stderr == b""
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_hints_never_pile_up() -> None:
    go, done = threading.Event(), list[int]()
    queue = PrefetchQueue(bound=3)
    queue.put([partial(go.wait, 60)])
    for number in range(20):
        queue.put([partial(done.append, number)])
    go.set()
    assert queue.wait(60)
    assert done[-3:] == [17, 18, 19]
    assert len(done) <= 4


def test_where_no_thread_can_be_started_hints_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, done = PrefetchQueue(), list[int]()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more_threads)
        queue.put([partial(done.append, 1), partial(done.append, 2)])
        assert queue.wait(60)
    queue.put([partial(done.append, 3)])
    assert queue.wait(60)
    assert done == [3]
