"""The page about the command line says what the command line says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_page_shows_the_help_that_the_program_prints(repository: Path) -> None:
    page = repository / "docs" / "reference" / "cli.md"
    script = (
        f"import runpy, sys; sys.stdout.reconfigure(encoding='utf-8')\n"
        f"print(runpy.run_path({str(page.with_name('make_cli.py'))!r})['render'](), end='')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8", check=True)
    assert page.read_text(encoding="utf-8") == done.stdout, "run: python docs/reference/make_cli.py"
