"""`samovar plugins new`: what it writes works as it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from samovar.errors import InputError, UnknownNameError
from samovar.scaffold import KINDS, scaffold
from tests.core.plugins.installed import install, python


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_tests_and_the_contract_suite_as_generated(kind: str, tmp_path: Path) -> None:
    made = python("-m", "samovar", "plugins", "new", "samovar-my-first", "--kind", kind, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    package = tmp_path / "samovar-my-first"
    install(tmp_path / "site", "samovar-my-first", entry_points(package))
    path = [package / "src", tmp_path / "site"]
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", path=path, folder=package)
    assert tested.returncode == 0, tested.stdout
    passed = re.search(r"(\d+) passed", tested.stdout)
    assert passed is not None
    assert int(passed[1]) > 8
    listed = python("-m", "samovar", "plugins", path=path, folder=package)
    assert re.search(r"^my-first +samovar-my-first 1.0 +ok$", listed.stdout, re.MULTILINE)


def entry_points(package: Path) -> dict[str, str]:
    """Those that the package's own pyproject.toml names."""
    text = (package / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.entry-points.samovar]\n")[2]
    return dict(re.findall(r'^(\S+) = "(\S+)"$', section, re.MULTILINE))


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_filled_in(kind: str, tmp_path: Path) -> None:
    written = scaffold("samovar-tea-cup", kind, tmp_path / "new")
    assert sorted(path for path in (tmp_path / "new").rglob("*") if path.is_file()) == written
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "$" not in text
        assert "_module_" not in str(path)
        if path.suffix == ".py":
            ast.parse(text)
    texts = "".join(path.read_text(encoding="utf-8") for path in written)
    for name in ("samovar-tea-cup", "samovar_tea_cup", '"tea-cup"', "TeaCup"):
        assert name in texts


@pytest.mark.parametrize("name", ["", "Samovar-X", "9lives", "a_b", "a b", "../up", "samovar", "json", "class", "-x"])
def test_a_name_that_no_package_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="samovar-threshold"):
        scaffold(name, "sink", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        scaffold("samovar-x", "sink", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="segmenter"):
        scaffold("samovar-x", "segmentor", tmp_path / "new")
