"""Work done behind the caller's back."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from samovar.cache.behind import Behind


def test_work_that_raises_is_told_of_once_and_the_rest_is_done(caplog: pytest.LogCaptureFixture) -> None:
    behind, done = Behind(), list[int]()

    def fails() -> None:
        raise MemoryError("the device is full")

    for number in range(3):
        behind.put(10, fails)
        behind.put(10, partial(done.append, number))
    assert behind.wait(60)
    assert done == [0, 1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "an embedding is not kept by the slower tiers: MemoryError: the device is full"
    ]


def test_who_brings_more_than_may_wait_waits_himself() -> None:
    behind, order = Behind(max_bytes=10), list[int]()
    for number in range(5):
        behind.put(8, partial(order.append, number))
    assert len(order) >= 3, "never more than one of them at a time"
    assert behind.wait(60)
    assert order == [0, 1, 2, 3, 4]


def test_where_no_thread_can_be_started_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the process ends, from Python 3.12 on."""
    behind, done = Behind(), list[int]()
    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    behind.put(10, partial(done.append, 1))
    behind.put(10, partial(done.append, 2))
    assert done == [1, 2]
    assert behind.wait(60)


def no_more_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
