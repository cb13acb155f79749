"""`samovar cache` on the embedded default model, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image as Pillow

from samovar.cli.main import cli

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small pictures, and a cache of its own beside it."""
    photos = tmp_path / "photos"
    photos.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        coarse = random.integers(0, 256, (6, 8, 3), np.uint8)
        Pillow.fromarray(coarse).resize((80, 60)).save(photos / f"{number}.png")
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path / "cache"))
    return photos


def invoke(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["cache", *map(str, arguments)], input=stdin, standalone_mode=False)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exception is None, result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]


def statuses(result: Result) -> dict[str, str]:
    return {Path(line["image"]).name: line["status"] for line in lines(result)}


def test_warming_encodes_once_and_skips_what_is_there(folder: Path) -> None:
    first = invoke("warm", folder, "--json")
    assert set(statuses(first).values()) == {"encoded"}
    assert first.return_value == 0
    assert "5 encoded, 0 there already, 0 failed" in first.stderr
    second = invoke("warm", folder, "--json")
    assert set(statuses(second).values()) == {"present"}
    assert len(statuses(second)) == 5


def test_warming_names_each_bad_file_once_and_goes_on(folder: Path) -> None:
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "text.jpg").write_text("no picture")
    result = invoke("warm", folder, folder / "missing.png", "--json")
    found = statuses(result)
    assert {name for name, status in found.items() if status == "failed"} == {"torn.png", "text.jpg"} | (
        {name for name in found if "missing" in name}
    )
    assert sum(status == "encoded" for status in found.values()) == 5
    assert result.return_value == 1
    for name in ("torn.png", "text.jpg", "missing.png"):
        assert sum(name in line for line in result.stderr.splitlines()) == 1


def test_warming_takes_lists(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text(f"{folder / '0.png'}\n\n{folder / '1.png'}\n")
    assert sorted(statuses(invoke("warm", tmp_path / "some.txt", "--json"))) == ["0.png", "1.png"]
    result = invoke("warm", "-", "--json", stdin=f"{folder / '1.png'}\n{folder / '2.png'}\n")
    assert statuses(result) == {"1.png": "present", "2.png": "encoded"}


def test_lists_come_from_any_editor(folder: Path, tmp_path: Path) -> None:
    (folder / "0.png").rename(folder / "\x1c0\u2028.png")
    text = f"\ufeff{folder}/\x1c0\u2028.png\r\n{folder / '1.png'}\r\n"
    (tmp_path / "some.lst").write_bytes(text.encode())
    assert len(statuses(invoke("warm", tmp_path / "some.lst", "--json"))) == 2
    assert set(statuses(invoke("warm", "-", "--json", stdin=text)).values()) == {"present"}


def test_nothing_that_can_be_read_is_no_reason_to_fail_otherwise(folder: Path, tmp_path: Path) -> None:
    """The folder of the cache is not even made."""
    result = invoke("warm", folder / "missing.png")
    assert (result.exception, result.return_value) == (None, 1)
    assert result.stderr.splitlines()[-1] == "0 encoded, 0 there already, 1 failed"
    assert not (tmp_path / "cache").exists()


def test_what_was_warmed_is_not_encoded_by_segment(folder: Path) -> None:
    invoke("warm", folder)
    import samovar

    runtime = samovar.load("default")
    assert all(runtime.cache.holds(samovar.Image(path), runtime.segmenter) for path in folder.iterdir())


def test_warming_is_resumed_after_a_kill_and_shared_by_two_at_once(folder: Path, tmp_path: Path) -> None:
    for number in range(5, 12):
        pixels = np.random.default_rng(number).integers(0, 256, (90, 120, 3), np.uint8)
        Pillow.fromarray(pixels).save(folder / f"{number}.png")
    command = [sys.executable, "-m", "samovar", "cache", "warm", str(folder), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=300)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    encoded = [json.loads(line)["image"] for answer in answers for line in answer if '"encoded"' in line]
    assert [len(answer) for answer in answers] == [12, 12]
    assert len(encoded) == len(set(encoded)) < 12
    assert set(statuses(invoke("warm", folder, "--json")).values()) == {"present"}
    assert lines(invoke("verify", "--json"))[0]["damaged"] == 0


def test_warming_without_a_cache_is_refused(folder: Path) -> None:
    result = invoke("warm", folder, "--cache", "off")
    assert "there is no cache to warm" in str(result.exception)


def test_stats_tell_what_is_held_and_what_it_saved(folder: Path) -> None:
    invoke("warm", folder)
    CliRunner().invoke(cli, ["segment", str(folder / "0.png"), "--point", "40,30", "--json"], standalone_mode=False)
    rows = {row["tier"]: row for row in lines(invoke("stats", "--json"))}
    assert rows["disk"]["model"] == "default"
    assert rows["disk"]["entries"] == 5
    assert rows["disk"]["bytes"] > 0
    assert rows["encoder"]["puts"] == 5
    assert rows["encoder"]["spent"] > 0
    assert sum(row["saved"] for row in rows.values()) > 0
    table = invoke("stats")
    assert "default" in table.stdout
    assert "tier" in table.stdout


def test_stats_of_an_empty_cache(folder: Path) -> None:
    assert lines(invoke("stats", "--json")) == []
    assert "empty" in invoke("stats").stdout


def test_stats_for_prometheus(folder: Path) -> None:
    invoke("warm", folder)
    page = invoke("stats", "--prometheus").stdout
    assert '# TYPE samovar_cache_entries gauge\nsamovar_cache_entries{tier="memory"' in page or (
        '# TYPE samovar_cache_entries gauge\nsamovar_cache_entries{tier="disk",model="default"} 5' in page
    )
    assert 'samovar_cache_puts_total{tier="encoder",model="default"} 5' in page


def test_verify_drops_and_counts_damaged_entries(folder: Path, tmp_path: Path) -> None:
    invoke("warm", folder)
    victim = min((tmp_path / "cache").rglob("*.emb"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 16
    victim.write_bytes(data)
    result = invoke("verify", "--json")
    (line,) = lines(result)
    assert (line["entries"], line["damaged"], line["keys"]) == (5, 1, [victim.stem])
    assert "4 entries (" in invoke("verify").stderr
    assert invoke("verify", "--quiet").output == ""
    assert sum(status == "encoded" for status in statuses(invoke("warm", folder, "--json")).values()) == 1


def test_prune_by_bytes_and_by_age(folder: Path) -> None:
    invoke("warm", folder)
    held = lines(invoke("verify", "--json"))[0]["bytes"]
    (line,) = lines(invoke("prune", "--max-bytes", f"{held // 2}B", "--json"))
    assert 2 <= line["dropped"] <= 4
    assert lines(invoke("prune", "--older-than", "30d", "--json"))[0]["dropped"] == 0
    time.sleep(1.1)
    assert lines(invoke("prune", "--older-than", "0s", "--json"))[0]["dropped"] == 5 - line["dropped"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "prune needs --max-bytes or --older-than"),
        (["prune", "--older-than", "soon"], "--older-than is a number with s, m, h, d or w, such as 30d; got 'soon'"),
        (["prune", "--max-bytes", "much"], "expected a size such as 512MB or 2GiB; got 'much'"),
        (["stats", "--cache", "off"], "no cache is kept with --cache off"),
    ],
)
def test_what_makes_no_sense_is_refused(folder: Path, arguments: list[str], message: str) -> None:
    assert message in str(invoke(*arguments).exception)


def test_clear_empties_everything(folder: Path, tmp_path: Path) -> None:
    invoke("warm", folder)
    (line,) = lines(invoke("clear", "--json"))
    assert line["dropped"] >= 5
    assert list((tmp_path / "cache").rglob("*.emb")) == []
    assert lines(invoke("stats", "--json")) == []
    assert set(statuses(invoke("warm", folder, "--json")).values()) == {"encoded"}


def test_another_cache_can_be_named(folder: Path, tmp_path: Path) -> None:
    invoke("warm", folder, "--cache", tmp_path / "other")
    assert lines(invoke("stats", "--json")) == []
    assert {row["entries"] for row in lines(invoke("stats", "--cache", tmp_path / "other", "--json"))} >= {5}


def test_a_cache_folder_that_is_a_file_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    environment = {**os.environ, "SAMOVAR_CACHE_DIR": str(tmp_path / "cache")}
    for command in ("verify", "clear", "stats"):
        result = subprocess.run(
            [sys.executable, "-m", "samovar", "cache", command],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) <= 2


def test_warming_a_cache_that_cannot_be_written_to_ends_at_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    command = [sys.executable, "-m", "samovar", "cache", "warm", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    warning, error = result.stderr.splitlines()
    assert warning.startswith("the disk tier of the cache is not used for now: NotADirectoryError")
    assert error.startswith("samovar: what is encoded cannot be kept: NotADirectoryError")
    assert result.returncode == 1


def test_warming_more_than_fits_says_what_was_dropped_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("warm", folder)
    held = lines(invoke("stats", "--json"))
    budget = sum(row["bytes"] for row in held if row["tier"] == "disk") // 2
    invoke("clear", "--yes")
    monkeypatch.setenv("SAMOVAR_CACHE_DISK", f"{budget}B")
    result = invoke("warm", folder)
    assert re.search(r"5 encoded, .* [1-4] dropped to stay within .* \(see the setting disk\)", result.stderr)
    monkeypatch.setenv("SAMOVAR_CACHE_DISK", "1kB")
    result = invoke("warm", folder, "--cache", folder / "tiny")
    assert "5 encoded, 0 there already, 0 failed; 5 dropped to stay within" in result.stderr


def test_the_table_tells_what_encoding_took_and_what_hits_saved(folder: Path) -> None:
    invoke("warm", folder)
    CliRunner().invoke(cli, ["segment", str(folder / "0.png"), "--point", "40,30", "--json"], standalone_mode=False)
    rows = {line.split()[0]: line.split() for line in invoke("stats").stdout.splitlines()}
    assert rows["encoder"][-1] == "spent"
    assert rows["disk"][-1] == "saved"
    assert rows["encoder"][rows["tier"].index("put") + 1] == "5", "the size is two words"
