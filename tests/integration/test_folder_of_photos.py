"""A folder of two hundred pictures as they come: good ones written, bad ones named, a kill survived."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from tests.hostile import HostileFolder, write_hostile_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> HostileFolder:
    return write_hostile_folder(tmp_path_factory.mktemp("photos"), good=180, bad=20)


def command(hostile: HostileFolder, out: Path) -> list[str]:
    run = [sys.executable, "-m", "samovar", "auto", str(hostile.folder), "--points-per-side", "2", "--resume"]
    return [*run, "--set", "pred_iou_thresh=0", "--format", "coco", "--out", str(out), "--cache", "off"]


@pytest.fixture(scope="module")
def unbroken(
    hostile: HostileFolder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("unbroken") / "masks.json"
    return out, subprocess.run(command(hostile, out), capture_output=True, text=True, check=False)


def test_every_good_image_is_written_and_every_bad_one_named_once(
    hostile: HostileFolder, unbroken: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    out, done = unbroken
    assert done.returncode == 1, done.stderr
    images = {image["file_name"]: (image["width"], image["height"]) for image in json.loads(out.read_text())["images"]}
    assert images == hostile.good
    lines = done.stderr.splitlines()
    for name in hostile.bad:
        assert sum(name in line for line in lines) == 1, (name, done.stderr)
    assert "Traceback" not in done.stderr
    assert not any(name in done.stderr for name in hostile.ignored)


def test_the_file_is_coco(unbroken: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    coco = COCO(str(unbroken[0]))
    assert len(coco.getImgIds()) == 180
    assert all(coco.annToMask(annotation).any() for annotation in coco.dataset["annotations"][:50])


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_half_way_and_run_again_it_ends_in_the_same_file(
    hostile: HostileFolder, unbroken: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    out = tmp_path / "masks.json"
    journal = out.with_name("masks.json.partial")
    first = subprocess.Popen(command(hostile, out), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not journal.exists() or journal.read_bytes().count(b"\n") < 60:
        assert first.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    written = journal.read_bytes().count(b"\n")
    assert not out.exists()

    second = subprocess.run(command(hostile, out), capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"{written} already there" in second.stderr
    assert out.read_bytes() == unbroken[0].read_bytes()
    assert not journal.exists()
