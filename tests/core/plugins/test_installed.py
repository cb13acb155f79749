"""Plugins of installed packages, in processes of their own: found, isolated when broken, blocked, traced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.installed import install, python

pytestmark = pytest.mark.slow

GOOD = """
import samovar
from samovar.plugins import SegmenterSpec

@samovar.hookimpl
def register_segmenters():
    return [SegmenterSpec("{name}", "nowhere.at:all", ("box",), "A model", "MIT", extra={extra!r})]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages: one that works, and one of each way to be broken."""
    sources = {
        "good": GOOD.format(name="cups", extra=None),
        "unimportable": "import a_package_that_nobody_has\n",
        "raising": "raise RuntimeError('first line\\nsecond line')\n",
        "leaving": "import sys\nsys.exit('bye')\n",
        "misspelt": "import samovar\n@samovar.hookimpl\ndef register_segmenter():\n    return []\n",
        "torn": "def (:\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}_plugin.py").write_text(source)
        install(tmp_path, f"samovar-{name}", {name: f"{name}_plugin"}, "2.5")
    install(tmp_path, "samovar-gone", {"gone": "no_such_module"})
    install(tmp_path, "samovar-hollow", {"hollow": "good_plugin:no_such_name"})
    return tmp_path


def plugins(site: Path, block: str = "") -> dict[str, Any]:
    """What `samovar plugins --json` says, by name."""
    done = python("-m", "samovar", "plugins", "--json", path=[site], SAMOVAR_BLOCK=block)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_every_broken_plugin_is_shown_with_its_package_and_reason_and_none_takes_the_host_down(site: Path) -> None:
    shown = plugins(site)
    assert shown["good"]["status"] == "ok"
    assert shown["good"]["brings"] == {"models": ["cups"]}
    reasons = {
        "unimportable": "No module named 'a_package_that_nobody_has'",
        "raising": "RuntimeError: first line second line",
        "leaving": "SystemExit: bye",
        "misspelt": "did you mean register_segmenters?",
        "torn": "SyntaxError",
        "gone": "No module named 'no_such_module'",
        "hollow": "no_such_name",
    }
    for name, reason in reasons.items():
        assert shown[name]["status"] == "broken", name
        (problem,) = shown[name]["problems"]
        assert reason in problem
        assert len(problem.splitlines()) == 1
        assert shown[name]["distribution"] == f"samovar-{name}"
    assert shown["raising"]["version"] == "2.5"


def test_people_see_the_same_as_a_table(site: Path) -> None:
    done = python("-m", "samovar", "plugins", path=[site])
    lines = done.stdout.splitlines()
    where = next(number for number, line in enumerate(lines) if line.startswith("raising "))
    assert lines[where].split() == ["raising", "samovar-raising", "2.5", "broken"]
    assert lines[where + 1] == "    import of raising_plugin: RuntimeError: first line second line"
    assert "    models: cups" in lines


def test_models_are_listed_all_the_same_and_the_broken_plugins_named(site: Path) -> None:
    done = python("-m", "samovar", "models", path=[site])
    assert done.returncode == 0
    assert any(line.startswith("cups ") for line in done.stdout.splitlines())
    assert "gone, hollow, leaving, misspelt, raising, torn, unimportable; `samovar plugins` says why" in done.stderr


def test_a_blocked_plugin_is_not_even_imported(site: Path) -> None:
    (site / "raising_plugin.py").write_text("import sys\nsys.stderr.write('IMPORTED')\n")
    assert "IMPORTED" in python("-m", "samovar", "plugins", path=[site]).stderr
    done = python("-m", "samovar", "plugins", path=[site], SAMOVAR_BLOCK="raising,good")
    assert "IMPORTED" not in done.stderr
    shown = plugins(site, block="raising,good")
    assert (shown["raising"]["status"], shown["good"]["status"]) == ("blocked", "blocked")
    assert shown["good"]["brings"] == {}
    assert shown["raising"]["problems"] == []


def test_tracing_says_what_is_loaded_and_called_and_shows_tracebacks(site: Path) -> None:
    done = python("-m", "samovar", "models", path=[site], SAMOVAR_TRACE_PLUGINS="1", SAMOVAR_BLOCK="torn")
    lines = done.stderr.splitlines()
    assert any(line.startswith("samovar plugins: good: loaded from good_plugin: ") for line in lines)
    assert any(line.startswith("samovar plugins: good: register_segmenters: ") for line in lines)
    assert "samovar plugins: torn: blocked" in lines
    assert any(line.startswith("samovar plugins: raising: loaded from raising_plugin: failed: ") for line in lines)
    assert "Traceback (most recent call last):" in lines
    assert python("-m", "samovar", "models", path=[site], SAMOVAR_BLOCK="torn").stderr.count("Traceback") == 0


def test_two_packages_that_claim_one_plugin_name_are_both_shown(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}_plugin.py").write_text(GOOD.format(name=name, extra=None))
        install(tmp_path, f"samovar-{name}", {"tea": f"{name}_plugin"})
    done = python("-m", "samovar", "plugins", "--json", path=[tmp_path])
    rows = [row for row in map(json.loads, done.stdout.splitlines()) if row["name"] == "tea"]
    assert sorted((row["distribution"], row["status"]) for row in rows) in (
        [("samovar-first", "broken"), ("samovar-second", "conflict")],
        [("samovar-first", "conflict"), ("samovar-second", "broken")],
    )
    assert all("samovar-first 1.0" in row["problems"][0] for row in rows)
    assert all("samovar-second 1.0" in row["problems"][0] for row in rows)
    assert sum(len(row["brings"]) for row in rows) == 1


def test_two_packages_that_claim_one_model_are_both_shown_and_loading_it_names_both(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}_plugin.py").write_text(GOOD.format(name="cups", extra=None))
        install(tmp_path, f"samovar-{name}", {name: f"{name}_plugin"})
    listed = python("-m", "samovar", "models", "--json", path=[tmp_path])
    claimants = [row["plugin"] for row in map(json.loads, listed.stdout.splitlines()) if row["name"] == "cups"]
    assert claimants == ["first", "second"]
    expected = "model 'cups' is claimed by plugins 'first' (samovar-first 1.0) and 'second' (samovar-second 1.0)"
    assert expected in listed.stderr
    loaded = python("-c", "import samovar; samovar.load('cups')", path=[tmp_path])
    assert loaded.returncode == 1
    assert f"PluginError: {expected}; uninstall one of them or set SAMOVAR_BLOCK=first" in loaded.stderr
    freed = python("-c", "import samovar; samovar.load('cups')", path=[tmp_path], SAMOVAR_BLOCK="first")
    assert "import of nowhere.at:all failed" in freed.stderr


def test_a_missing_extra_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    source = GOOD.format(name="cups", extra="sam").replace("nowhere.at:all", "cups_model:load")
    (tmp_path / "cups_plugin.py").write_text(source)
    (tmp_path / "cups_model.py").write_text("import a_package_that_nobody_has.inside\n")
    install(tmp_path, "samovar-cups", {"cups": "cups_plugin"})
    done = python("-m", "samovar", "segment", "x.png", "--box", "1,1,2,2", "--model", "cups", path=[tmp_path])
    assert done.stderr.splitlines() == [
        "samovar: model 'cups' needs a_package_that_nobody_has: pip install \"samovar[sam]\""
    ]
    assert done.returncode != 0


def test_a_plugin_that_lists_models_while_it_is_imported_sees_those_loaded_so_far(tmp_path: Path) -> None:
    (tmp_path / "aa_plugin.py").write_text(
        "import samovar\nSEEN = [s.name for s in samovar.list_segmenters()]\n" + GOOD.format(name="aa", extra=None)
    )
    (tmp_path / "zz_plugin.py").write_text(GOOD.format(name="zz", extra=None))
    install(tmp_path, "samovar-both", {"aa": "aa_plugin", "zz": "zz_plugin"})
    code = (
        "import samovar\nnames = [spec.name for spec in samovar.list_segmenters()]\n"
        "import aa_plugin\nprint(names, aa_plugin.SEEN)"
    )
    done = python("-c", code, path=[tmp_path])
    assert done.returncode == 0, done.stderr
    assert "'aa'" in done.stdout.partition("]")[0]
    assert "'zz'" in done.stdout.partition("]")[2]


def test_a_package_whose_list_of_entry_points_is_torn_is_shown_and_the_others_work(site: Path) -> None:
    info = site / "samovar_torn_list-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: samovar-torn-list\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[samovar]\nthere is no equals sign here\n")
    shown = plugins(site)
    assert shown["good"]["brings"] == {"models": ["cups"]}
    assert shown["default"]["status"] == "ok"
    assert "entry points cannot be read" in shown["samovar-torn-list"]["problems"][0]


def test_a_package_without_metadata_is_called_unknown(tmp_path: Path) -> None:
    (tmp_path / "tea_plugin.py").write_text(GOOD.format(name="tea", extra=None))
    install(tmp_path, "samovar-tea", {"tea": "tea_plugin"})
    (tmp_path / "samovar_tea-1.0.dist-info" / "METADATA").unlink()
    row = plugins(tmp_path)["tea"]
    assert (row["status"], row["distribution"], row["version"]) == ("ok", "unknown", "unknown")


def test_threads_that_come_while_plugins_load_wait_and_see_all_of_them(tmp_path: Path) -> None:
    for name in ("aa", "zz"):
        source = f"import time\nprint('importing {name}')\ntime.sleep(0.2)\n" + GOOD.format(name=name, extra=None)
        (tmp_path / f"{name}_plugin.py").write_text(source)
    install(tmp_path, "samovar-slow", {"aa": "aa_plugin", "zz": "zz_plugin"})
    code = (
        "import samovar\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "from threading import Barrier\n"
        "barrier = Barrier(8)\n"
        "def work(_):\n"
        "    barrier.wait()\n"
        "    return tuple(spec.name for spec in samovar.list_segmenters())\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    answers = set(pool.map(work, range(8)))\n"
        "(names,) = answers\n"
        "assert {'aa', 'zz'} <= set(names), names\n"
    )
    done = python("-c", code, path=[tmp_path])
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["importing aa", "importing zz"]
