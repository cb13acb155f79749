"""What is worked on ahead when the process ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def test_the_item_at_hand_is_finished_and_the_rest_forgotten_when_the_process_ends(tmp_path: Path) -> None:
    program = f"""
        import threading, time
        from pathlib import Path
        from samovar.cache.prefetch import Ahead

        begun = threading.Event()

        def work(number):
            begun.set()
            time.sleep(0.5)
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
