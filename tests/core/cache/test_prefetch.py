"""What is worked on ahead, and what becomes of it when the process ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from samovar.cache.prefetch import Ahead


def test_the_item_at_hand_is_finished_and_the_rest_forgotten_when_the_process_ends(tmp_path: Path) -> None:
    program = f"""
        import threading, time
        from pathlib import Path
        from samovar.cache.prefetch import Ahead

        begun = threading.Event()

        def work(number):
            begun.set()
            while not ahead._closed:
                time.sleep(0.01)
            time.sleep(0.1)
            (Path({str(tmp_path)!r}) / str(number)).touch()

        ahead = Ahead(work)
        ahead.put([1, 2, 3])
        begun.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, timeout=100, check=True
    )
    assert done.stderr == b""
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_where_no_thread_can_be_started_hints_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more_threads(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done = list[int]()
    ahead = Ahead(done.append)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more_threads)
        ahead.put([1, 2])
        assert ahead.wait(60)
    ahead.put([3])
    assert ahead.wait(60)
    assert done == [3]
