"""Settings: arguments before the environment before the file before this machine's defaults."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from samovar.cache import Cache, CacheConfig, DiskTier, MemoryTier, default_folder
from samovar.cache.config import SETTINGS
from samovar.errors import CacheError, SamovarError, UnknownNameError

GIB = 1 << 30


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in (*SETTINGS.values(), "SAMOVAR_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))


def settings(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "xdg_config_home" / "samovar" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_defaults_fit_the_machine() -> None:
    config = CacheConfig.load()
    assert 0 < config.memory <= 2 * GIB
    assert config.disk is None
    assert config.precision == "half"
    assert config.admission == "measured"
    assert not config.durable


@pytest.mark.skipif(sys.platform != "linux", reason="each platform has its own")
def test_the_folder_is_the_users_cache_folder(tmp_path: Path) -> None:
    assert default_folder() == tmp_path / "xdg_cache_home" / "samovar"


def test_a_user_without_a_home_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> object:
        raise KeyError(uid)

    for variable in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(SamovarError, match="no home folder; set HOME"):
        default_folder()


def test_each_source_comes_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path, '[cache]\nmemory = "1MiB"\ndisk = "2MiB"\nprecision = "exact"\ndurable = true\n')
    monkeypatch.setenv("SAMOVAR_CACHE_MEMORY", "3MiB")
    monkeypatch.setenv("SAMOVAR_CACHE_DISK", "4MiB")
    config = CacheConfig.load(disk="5MiB")
    assert (config.disk, config.memory, config.precision, config.durable) == (5 << 20, 3 << 20, "exact", True)


def test_the_settings_file_may_lie_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text('[cache]\ntiers = ["memory=1MiB"]\n[other]\nx = 1\n')
    monkeypatch.setenv("SAMOVAR_CONFIG", str(tmp_path / "mine.toml"))
    assert CacheConfig.load().tiers == ("memory=1MiB",)


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("SAMOVAR_CACHE_DIR", "~/here", "folder", Path.home() / "here"),
        ("SAMOVAR_CACHE_TIERS", "memory, disk=/x", "tiers", ("memory", "disk=/x")),
        ("SAMOVAR_CACHE_PRECISION", "int8", "precision", "int8"),
        ("SAMOVAR_CACHE_ADMISSION", "always", "admission", "always"),
        ("SAMOVAR_CACHE_DURABLE", "yes", "durable", True),
        ("SAMOVAR_CACHE_DURABLE", "0", "durable", False),
        ("SAMOVAR_CACHE_CUDA", "1.5 GiB", "cuda", 3 << 29),
        ("SAMOVAR_CACHE_PINNED", "100", "pinned", 100),
    ],
)
def test_the_environment_is_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(CacheConfig.load(), field) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memory": "lots"}, "cache setting memory in memory: expected a size such as 512MB or 2GiB; got 'lots'"),
        ({"memory": -1}, "cache memory must be a number of bytes, at least 0; got -1"),
        ({"disk": 1.5}, "cache disk must be a number of bytes"),
        ({"precision": "fp4"}, "cache precision must be one of exact, half, int8; got 'fp4'"),
        ({"admission": "never"}, "cache admission must be one of measured, always; got 'never'"),
        ({"durable": "perhaps"}, "cache setting durable in durable: expected true or false; got 'perhaps'"),
        ({"tiers": ","}, 'cache tiers must name at least one tier; to go without a cache, open "off"'),
        ({"colour": "red"}, "unknown cache setting 'colour' in colour; expected folder, tiers"),
        ({"folder": 3}, "cache setting folder in folder"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(CacheError) as caught:
        CacheConfig.load(**given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cache]\nmemory = ", "is not TOML"),
        ("cache = 3", "expected a table [cache]; got int"),
        ('[cache]\nsize = "1GiB"', "unknown cache setting 'size' in"),
        ('[cache]\nmemory = "big"', "cache setting memory in"),
    ],
)
def test_a_bad_settings_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = settings(tmp_path, text)
    with pytest.raises(CacheError) as caught:
        CacheConfig.load()
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_settings_file_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMOVAR_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(CacheError, match="no settings file at"):
        CacheConfig.load()


def test_opening_builds_the_tiers_that_are_named(tmp_path: Path) -> None:
    config = CacheConfig.load(folder=tmp_path, tiers=f"memory=1MiB,disk={tmp_path / 'there'}", disk="7MiB")
    memory, disk = Cache.open(config).tiers
    assert isinstance(memory, MemoryTier)
    assert isinstance(disk, DiskTier)
    assert memory.max_bytes == 1 << 20
    assert (disk.folder, disk.max_bytes) == (tmp_path / "there", 7 << 20)


def test_an_unknown_tier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown cache tier 'disc'"):
        Cache.open(CacheConfig.load(folder=tmp_path, tiers="disc"))


def test_the_old_name_of_a_setting_still_works_and_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path, '[cache]\nplacement = "always"\n')
    with pytest.warns(DeprecationWarning, match="placement is now admission|is now admission"):
        assert CacheConfig.load().admission == "always"
    monkeypatch.setenv("SAMOVAR_CONFIG", str(tmp_path / "empty.toml"))
    (tmp_path / "empty.toml").write_text("")
    monkeypatch.setenv("SAMOVAR_CACHE_PLACEMENT", "always")
    with pytest.warns(DeprecationWarning, match="SAMOVAR_CACHE_PLACEMENT is now SAMOVAR_CACHE_ADMISSION"):
        assert CacheConfig.load().admission == "always"
    monkeypatch.delenv("SAMOVAR_CACHE_PLACEMENT")
    with pytest.warns(DeprecationWarning, match="placement is now admission"):
        assert CacheConfig.load(placement="always").admission == "always"
    with pytest.warns(DeprecationWarning, match="placement= is now admission="):
        assert Cache(placement="always").admission == "always"  # type: ignore[call-arg]


def test_old_names_still_work_and_are_told_of() -> None:
    import samovar.cache

    for old, new in (("Dropped", samovar.cache.Evicted), ("Part", samovar.cache.TensorRecord)):
        with pytest.warns(DeprecationWarning, match=f"samovar.cache.{old} is now"):
            assert getattr(samovar.cache, old) is new
