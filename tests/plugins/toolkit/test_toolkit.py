"""The toolkit is the one door: families and strangers import it and nothing inside it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from samovar_plugins import toolkit
from tests.conftest import ROOT

FAMILIES = ("sam", "sam2", "sam3", "edge_tam")


def imports(file: Path) -> set[str]:
    """The modules of `samovar_plugins` that a file imports from."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in nodes if node.module and node.module.startswith("samovar_plugins")}


def files() -> list[Path]:
    folders = [ROOT / "plugins" / "samovar_plugins" / name for name in FAMILIES]
    return [file for folder in [*folders, ROOT / "docs" / "how-to"] for file in sorted(folder.rglob("*.py"))]


@pytest.mark.parametrize("file", files(), ids=lambda file: "/".join(file.parts[-2:]))
def test_families_import_the_toolkit_or_what_they_descend_from(file: Path) -> None:
    own = f"samovar_plugins.{file.parent.name}"
    allowed = {"samovar_plugins.toolkit", "samovar_plugins.sam2"}  # EdgeTAM and SAM 3 descend from SAM 2
    assert {name for name in imports(file) if not name.startswith(f"{own}.")} <= allowed


def test_every_name_is_there_and_on_its_page() -> None:
    pytest.importorskip("torch")
    page = (ROOT / "docs" / "reference" / "toolkit.md").read_text(encoding="utf-8")
    for name in toolkit.__all__:
        assert getattr(toolkit, name) is not None
        assert re.search(rf"(`|\.){name}\b", page), name


def test_describing_models_imports_no_torch() -> None:
    code = "import sys; from samovar_plugins.toolkit import Family, read_header; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert "StateDict" in toolkit.__all__
