"""The tutorial's package: it works as a stranger's would, and the page shows the very files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.core.plugins.installed import ROOT, install, python
from tests.core.plugins.test_scaffold import entry_points

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "tutorial" / "your-own-plugin.md"
PACKAGE = ROOT / "docs" / "tutorial" / "samovar-threshold"

_SHOWN = re.compile(
    r"^<!-- not run: the file (?P<file>\S+) of the package[^\n]* -->\n+```\w+[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def path(tmp_path: Path) -> list[Path]:
    """What has to be on the path for the package to be as good as installed."""
    install(tmp_path, "samovar-threshold", entry_points(PACKAGE))
    return [PACKAGE / "src", tmp_path]


def test_its_own_tests_pass(path: list[Path]) -> None:
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", path=path, folder=PACKAGE)
    assert tested.returncode == 0, tested.stdout
    passed = re.search(r"(\d+) passed", tested.stdout)
    assert passed is not None
    assert int(passed[1]) > 35


def test_the_command_line_lists_it_and_segments_with_it(path: list[Path], photo: Path, tmp_path: Path) -> None:
    listed = python("-m", "samovar", "plugins", path=path)
    assert re.search(r"^threshold +samovar-threshold 1.0 +ok\n    models: threshold$", listed.stdout, re.MULTILINE)
    box = ("--box", "75,68,484,392", "--cache", "off", "--json")
    done = python("-m", "samovar", "segment", str(photo), "--model", "threshold", *box, path=path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_every_file_on_the_page_is_the_file_in_the_package() -> None:
    shown = {match["file"]: match["text"] for match in _SHOWN.finditer(PAGE.read_text(encoding="utf-8"))}
    for name, text in shown.items():
        assert text == (PACKAGE / name).read_text(encoding="utf-8"), name
    told = {"README.md", "src/samovar_threshold/__init__.py", "src/samovar_threshold/py.typed"}
    files = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*") if file.is_file()}
    built = {name for name in files if "__pycache__" in name or name.startswith((".", "dist/"))}
    assert set(shown) == files - built - told
