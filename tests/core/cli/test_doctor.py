"""`samovar doctor`: what is there, what is not, and what to do about each lack."""

from __future__ import annotations

import json
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from samovar import hookimpl
from samovar.cli.main import main
from samovar.diagnosis import Finding, examine
from samovar.plugins import SegmenterSpec, override_plugins


class Broken:
    """A plugin whose hook fails."""

    @hookimpl
    def register_segmenters(self) -> list[SegmenterSpec]:
        raise RuntimeError("no kettle")


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def found(area: str) -> dict[str, Finding]:
    """The findings of one area, by subject."""
    return {finding.subject: finding for finding in examine() if finding.area == area}


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *args])
    return int(caught.value.code or 0), capsys.readouterr().out


def test_all_that_the_base_install_requires_is_named_with_its_version() -> None:
    required = {Requirement(text).name for text in distribution("samovar").requires or [] if "extra ==" not in text}
    base = found("base install")
    assert set(base) == required
    assert {finding.state for finding in base.values()} == {"ok"}


def test_an_extra_that_is_not_there_names_each_missing_package_and_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from samovar import diagnosis

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(diagnosis, "version", missing)
    lack = found("extras")["serve"]
    assert lack == Finding(
        "extras",
        "serve",
        "lack",
        "prometheus-client is not installed; starlette is not installed; uvicorn is not installed",
        'pip install "samovar[serve]"',
    )


def test_a_package_that_is_too_old_is_a_lack_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from samovar import diagnosis

    monkeypatch.setattr(diagnosis, "version", lambda name: "0.0.1")
    assert "starlette is 0.0.1, needs >=" in found("extras")["serve"].detail
    assert found("base install")["numpy"].state == "broken"


def test_sources_that_are_not_installed_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from samovar import diagnosis

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(diagnosis, "distribution", missing)
    [finding] = examine()
    assert (finding.subject, finding.state) == ("samovar", "broken")
    assert "pip install" in str(finding.advice)


def test_every_lack_and_every_break_says_how_to_mend_it() -> None:
    with override_plugins({"kettle": Broken()}):
        findings = examine()
        [kettle] = [finding for finding in findings if finding.subject == "kettle"]
    assert kettle.state == "broken"
    assert "no kettle" in kettle.detail
    assert "SAMOVAR_BLOCK=kettle" in str(kettle.advice)
    assert [finding for finding in findings if finding.state != "ok" and not finding.advice] == []


@pytest.mark.slow
def test_the_cache_looked_at_is_the_one_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.toml"
    monkeypatch.delenv("SAMOVAR_CACHE_DIR")
    monkeypatch.setenv("SAMOVAR_CONFIG", str(settings))
    settings.write_text(f"[cache]\nfolder = {str(tmp_path / 'elsewhere')!r}")
    assert found("cache")[str(tmp_path / "elsewhere")].state == "ok"
    settings.write_text("[cache]\nmemory = 'much'")
    assert (found("cache")["settings"].state, run(capsys)[0]) == ("broken", 1)


def test_a_cache_folder_that_may_not_be_looked_into_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, mode: int) -> bool:
        return False

    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path / "folder"))
    monkeypatch.setattr(os, "access", denied)
    assert found("cache")[str(tmp_path / "folder")].detail == f"{tmp_path} cannot be written"


def test_a_broken_plugin_is_status_1_and_a_missing_extra_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with override_plugins({}):
        status, out = run(capsys)
    assert (status, "✗" in out) == (0, False)
    with override_plugins({"kettle": Broken()}):
        status, out = run(capsys)
    assert (status, "✗ kettle" in out) == (1, True)


def test_json_has_every_finding_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1 << 30))  # others write meanwhile
    with override_plugins({}):
        _, out = run(capsys, "--json")
        rows = [json.loads(line) for line in out.splitlines()]
        assert rows == [finding.as_dict() for finding in examine()]
