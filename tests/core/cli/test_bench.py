"""`samovar bench`: what it times, and on what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image as Pillow

from samovar import hookimpl
from samovar.cli.main import main
from samovar.plugins import SegmenterSpec, override_plugins


class Boxes:
    @hookimpl
    def register_segmenters(self) -> list[SegmenterSpec]:
        target = "tests.core.cli.test_segment:load_boxes"
        return [SegmenterSpec("default", target, ("points", "box"), "boxes", "Apache-2.0")]


def bench(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with override_plugins({"boxes": Boxes()}), pytest.raises(SystemExit) as caught:
        main(["bench", "--repeat", "1", *args])
    assert not caught.value.code
    return capsys.readouterr().out


def test_the_picture_given_is_timed_through_both_stages(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Pillow.new("RGB", (50, 40)).save(tmp_path / "street.png")
    row = json.loads(bench(capsys, str(tmp_path / "street.png"), "--json"))
    assert (row["model"], row["width"], row["height"]) == ("default", 50, 40)
    assert list(row["ms"]) == ["encode", "1 point", "1 box", "64 boxes"]
    assert all(milliseconds > 0 for milliseconds in row["ms"].values())


def test_without_a_picture_one_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = bench(capsys).splitlines()
    assert head.startswith("default on 640×480, ")
    assert [row.split()[-1] for row in rows] == ["ms"] * 4
