"""From a spec to what it names, and the one line that says what is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from samovar.errors import MissingExtraError, PluginError
from samovar.plugins import resolve, split_argument
from tests.core.plugins.samples import mask_sink, prompt_source, segmenter


@pytest.fixture
def cups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `tested_cups`, written by the test, importable for its duration."""
    package = tmp_path / "tested_cups"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.startswith("tested_cups")]:
        del sys.modules[name]


def test_a_target_is_imported_only_when_it_is_resolved(cups: Path) -> None:
    (cups / "model.py").write_text("def load(name, **options):\n    return name, options\n")
    spec = segmenter(target="tested_cups.model:load")
    assert "tested_cups.model" not in sys.modules
    load = resolve(spec)
    assert load is sys.modules["tested_cups.model"].load
    assert load("cups", weights=None, device="cpu", dtype="auto") == (
        "cups",
        {"weights": None, "device": "cpu", "dtype": "auto"},
    )


def test_a_target_may_be_an_attribute_of_a_class(cups: Path) -> None:
    (cups / "sinks.py").write_text("class Svg:\n    @classmethod\n    def open(cls, path):\n        return path\n")
    opened: object = resolve(mask_sink(target="tested_cups.sinks:Svg.open"))("out")
    assert opened == "out"


@pytest.mark.parametrize("extra", ["sam", "samovar-cups[gpu]"])
def test_a_missing_package_of_the_extra_is_told_at_import(cups: Path, extra: str) -> None:
    (cups / "model.py").write_text("import nobody_has_this.at_all\n")
    wanted = extra if "[" in extra else f"samovar[{extra}]"
    with pytest.raises(MissingExtraError) as caught:
        resolve(segmenter(target="tested_cups.model:load", extra=extra))
    assert str(caught.value) == f"model 'cups' needs nobody_has_this: pip install \"{wanted}\""


def test_a_missing_package_of_the_extra_is_told_when_the_target_imports_it_later(cups: Path) -> None:
    (cups / "source.py").write_text("def load(argument):\n    import nobody_has_this\n")
    load = resolve(prompt_source(target="tested_cups.source:load", extra="mmdet"))
    with pytest.raises(
        MissingExtraError, match=r"prompt source 'saucers' needs nobody_has_this: pip install .*\[mmdet\]"
    ):
        load(None)


def test_what_the_target_raises_otherwise_goes_through_unchanged(cups: Path) -> None:
    (cups / "source.py").write_text("def load(argument):\n    raise KeyError(argument)\n")
    with pytest.raises(KeyError, match="tea"):
        resolve(prompt_source(target="tested_cups.source:load", extra="mmdet"))("tea")


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("", "tested_cups.nowhere:load", "No module named 'tested_cups.nowhere'"),
        ("", "tested_cups.model:load", "has no attribute 'load'"),
        ("load = 3", "tested_cups.model:load", "is not callable; got int"),
        ("raise OSError('libcup.so')", "tested_cups.model:load", "OSError: libcup.so"),
        ("import nobody_has_this", "tested_cups.model:load", "No module named 'nobody_has_this'"),
    ],
)
def test_a_broken_target_is_a_plugin_error_in_one_line(cups: Path, source: str, target: str, reason: str) -> None:
    (cups / "model.py").write_text(source)
    with pytest.raises(PluginError, match="model 'cups'") as caught:
        resolve(segmenter(target=target))
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_plugin_s_own_module_that_is_missing_is_not_blamed_on_the_extra(cups: Path) -> None:
    with pytest.raises(PluginError, match=r"tested_cups\.nowhere"):
        resolve(segmenter(target="tested_cups.nowhere:load", extra="sam"))


def test_an_argument_is_what_follows_the_first_equals_sign() -> None:
    assert split_argument("faces") == ("faces", None)
    assert split_argument("coco=a=b.json") == ("coco", "a=b.json")
    assert split_argument("coco=") == ("coco", "")
