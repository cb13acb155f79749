"""The code blocks of the documentation run as they stand, page by page, in a folder with the demo photos in it.

`python` blocks of one page share their names, `pycon` blocks must print what they show, `sh` blocks must succeed, and
`json` and `toml` blocks must parse. A block that cannot run here says so, with the reason, in a comment right above it:

    <!-- not run: installs packages -->
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SHELL = {"sh", "bash", "shell"}
PARSED = {"json", "toml"}
RUNNABLE = {"python", "pycon", *SHELL, *PARSED}
PLAIN = {"", "text"}

_FENCE = re.compile(
    r"(?:^[ ]*<!-- not run: (?P<reason>[^\n]+?) -->\n+)?"
    r"^(?P<indent>[ ]*)```[ ]*(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """The README and every page of the site; packages inside docs/ have READMEs of their own, which are not pages."""
    packages = [file.parent for file in (ROOT / "docs").rglob("pyproject.toml")]
    found = [
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if not any(page.is_relative_to(package) for package in packages)
    ]
    return [ROOT / "README.md", *found]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order, dedented by their fence's indent."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        indent = len(match["indent"])
        code = "".join(line[indent:] if line.strip() else "\n" for line in match["code"].splitlines(keepends=True))
        yield Block(page, text.count("\n", 0, match.start("code")) + 1, match["language"], code, match["reason"])


def runnable(page: Path) -> list[Block]:
    """What is run of a page. The README's first two blocks make environments; the package checks run those."""
    found = [block for block in blocks(page) if block.language in RUNNABLE and not block.not_run]
    if page.name == "README.md" and page.parent == ROOT:
        setup = [block for block in found if block.language in SHELL][:2]
        found = [block for block in found if block not in setup]
    return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the demo photos, where a page's blocks run; caches stay inside it."""
    assets = ROOT / "docs" / "assets"
    for place in (tmp_path, tmp_path / "photos", tmp_path / "docs" / "assets"):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("photo.jpg", "portrait.jpg", "clip.mp4"):
            shutil.copy(assets / name, place / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path / ".cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def run(block: Block, names: dict[str, Any]) -> None:
    """Run or parse one block; raise or fail where it does not hold."""
    if block.language == "python":
        # Blank lines in front make tracebacks show the page's own line numbers.
        exec(compile("\n" * (block.line - 1) + block.code, str(block.page), "exec", dont_inherit=True), names)
    elif block.language == "pycon":
        test = doctest.DocTestParser().get_doctest(block.code, names, block.where, str(block.page), block.line - 1)
        shown: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=shown.append, clear_globs=False)
        names.update(test.globs)
        assert not shown, "".join(shown)
    elif block.language in SHELL:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block.where} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    elif block.language == "json":
        json.loads(block.code)
    elif block.language == "toml" and sys.version_info >= (3, 11):
        import tomllib

        tomllib.loads(block.code)


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages() if runnable(page)]
)
def test_code_blocks_of_the_page_run(page: Path, desk: Path) -> None:
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in runnable(page):
        run(block, names)


def test_every_block_says_what_language_it_is_in() -> None:
    known = RUNNABLE | PLAIN | {"diff", "yaml", "xml", "ini", "console"}
    strange = [f"{b.where}: {b.language}" for page in pages() for b in blocks(page) if b.language not in known]
    assert strange == []


def test_a_failing_block_fails_its_page(tmp_path: Path, desk: Path) -> None:
    for language, code in {
        "python": "raise ValueError",
        "pycon": ">>> 1 + 1\n3\n",
        "sh": "false\ntrue\n",
        "json": "{",
    }.items():
        with pytest.raises((AssertionError, ValueError)):
            run(Block(ROOT / "README.md", 1, language, code, None), {})


def test_a_block_is_left_out_only_with_a_reason(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs a camera -->\n```sh\nexit 1\n```\n\n<!-- not run: -->\n```sh\nexit 2\n```\n")
    found = list(blocks(page))
    assert [block.not_run for block in found] == ["needs a camera", None]
    assert [block.code for block in runnable(page)] == ["exit 2\n"]
