"""Listing models, starting up and asking for help import nothing heavy, which is what makes them quick."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samovar.plugins import override_plugins
from tests.core.plugins.installed import install, python
from tests.core.plugins.samples import Bringing, segmenter

HEAVY = {"PIL", "cv2", "numba", "numpy", "scipy", "skimage", "sklearn", "torch", "transformers"}

LISTINGS = {
    "list_segmenters": "import samovar; assert samovar.list_segmenters()",
    "load_plugins": "import samovar; samovar.load_plugins().list_plugins()",
    "samovar models": "from samovar.cli.listing import models; models(['--json'], standalone_mode=False)",
    "samovar plugins": "from samovar.cli.listing import plugins; plugins([], standalone_mode=False)",
    "samovar --help": "from samovar.cli.main import cli; cli(['--help'], standalone_mode=False)",
}


def loaded(code: str, *path: Path) -> set[str]:
    """The heavy modules that a fresh process has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint('\\n' + ' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = python("-c", script, path=path)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()) & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize("code", LISTINGS.values(), ids=LISTINGS)
def test_listing_imports_nothing_heavy(code: str) -> None:
    assert loaded(code) == set()


@pytest.mark.slow
@pytest.mark.parametrize("code", LISTINGS.values(), ids=LISTINGS)
def test_that_a_plugin_which_imports_a_heavy_library_to_register_would_be_seen(code: str, tmp_path: Path) -> None:
    """The proof that the test above can fail: stand-ins for the libraries, and a plugin that imports them."""
    for name in ("torch", "numba"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "heavy_plugin.py").write_text(
        "import samovar, torch, numba\n@samovar.hookimpl\ndef register_commands(cli):\n    pass\n"
    )
    install(tmp_path, "samovar-heavy", {"heavy": "heavy_plugin"})
    assert loaded(code, tmp_path) == {"torch", "numba"}


@pytest.mark.slow
def test_the_models_of_the_base_install_are_listed_as_json() -> None:
    done = python("-m", "samovar", "models", "--json")
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["default"]["needs"] is None
    assert rows["default"]["prompts"] == ["points", "box", "mask"]
    assert rows["default"]["plugin"] == "default"


def test_a_model_is_listed_with_all_that_its_spec_says(capsys: pytest.CaptureFixture[str]) -> None:
    from samovar.cli.listing import models

    spec = segmenter(
        prompts=("text", "points"),
        extra="sam",
        aliases=("c",),
        weights="tea/cups",
        gated=True,
        parameters=7,
        embedding_bytes=9,
        devices=("cpu", "cuda"),
    )
    with override_plugins({"tea": Bringing(spec, segmenter("mugs", extra="samovar-mugs[gpu]"))}):
        models(["--json"], standalone_mode=False)
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        models([], standalone_mode=False)
        table = capsys.readouterr().out.splitlines()
    assert first == {
        "name": "cups",
        "aliases": ["c"],
        "plugin": "tea",
        "summary": "Finds cups",
        "prompts": ["points", "text"],
        "licence": "MIT",
        "needs": "samovar[sam]",
        "weights": "tea/cups",
        "gated": True,
        "parameters": 7,
        "embedding_bytes": 9,
        "devices": ["cpu", "cuda"],
    }
    assert second["needs"] == "samovar-mugs[gpu]"
    assert table[1].split(maxsplit=4) == [
        "cups",
        "points,text",
        "samovar[sam]",
        "MIT",
        "Finds cups (weights must be asked for)",
    ]


def test_without_plugins_the_listings_are_empty(capsys: pytest.CaptureFixture[str]) -> None:
    from samovar.cli.listing import models, plugins

    with override_plugins():
        models([], standalone_mode=False)
        plugins([], standalone_mode=False)
    assert capsys.readouterr().out == ""
