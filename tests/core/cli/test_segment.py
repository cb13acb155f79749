"""`samovar segment`, `auto` and `run`, as a person or a script calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from samovar import Embedding, Image, hookimpl
from samovar.cli import job
from samovar.plugins import MaskSinkSpec, PromptSourceSpec, SegmenterSpec, override_plugins
from samovar.prompts import Prompts
from tests.fakes import FilledBoxes, ListSink

Run = Callable[..., tuple[int, str, str]]


def load_boxes(name: str, *, weights: str | None, device: str, dtype: str) -> FilledBoxes:
    return FilledBoxes()


class FileSink(ListSink):
    """One line an image, appended at once."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        super().__init__(self.path.read_text().split() if self.path.exists() else ())

    def write(self, key, image, masks) -> None:  # type: ignore[no-untyped-def]
        with self.path.open("a") as file:
            file.write(key + "\n")


class Corner:
    """A source that finds one thing in the corner of every image."""

    def prompts(self, images, requests=None):  # type: ignore[no-untyped-def]
        return [Prompts.from_boxes([[0, 0, 5, 5]], labels=["corner"]) for _ in images]


def open_corner(argument: str | None) -> Corner:
    return Corner()


class Toys:
    @hookimpl
    def register_segmenters(self) -> list[SegmenterSpec]:
        target = "tests.core.cli.test_segment:load_boxes"
        return [SegmenterSpec("default", target, ("points", "box"), "boxes", "Apache-2.0")]

    @hookimpl
    def register_mask_sinks(self) -> list[MaskSinkSpec]:
        target = "tests.core.cli.test_segment:FileSink"
        return [
            MaskSinkSpec("overlay", target, "a list", ".txt"),
            MaskSinkSpec("sheet", target, "a file each", "", ".sheet"),
        ]

    @hookimpl
    def register_prompt_sources(self) -> list[PromptSourceSpec]:
        return [PromptSourceSpec("corner", "tests.core.cli.test_segment:open_corner", "corner", ("box",), ("text",))]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Runs the command line in an empty working directory; gives its exit status, output and errors."""
    from samovar.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path / "cache"))

    def call(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(args))
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    with override_plugins({"toys": Toys()}):
        yield call


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Pillow.fromarray(np.full((30, 40, 3), 51, np.uint8)).save(tmp_path / "street.png")
    return "street.png"


def test_json_alone_prints_one_object_an_image_and_writes_nothing(run: Run, photo: str, tmp_path: Path) -> None:
    status, out, _ = run("segment", photo, "--box", "1,2,11,12", "--label", "bus", "--json")
    assert status == 0
    [line] = map(json.loads, out.splitlines())
    assert (line["image"], line["status"], line["width"], line["height"]) == ("street.png", "written", 40, 30)
    [mask] = line["masks"]
    assert (mask["box"], mask["area"], mask["label"], mask["prompt"]) == ([1, 2, 11, 12], 100, "bus", 0)
    assert mask["segmentation"]["size"] == [30, 40]
    assert not list(tmp_path.glob("street.*.txt"))


def test_without_out_the_file_is_named_after_the_image_and_the_format(run: Run, photo: str, tmp_path: Path) -> None:
    status, out, err = run("segment", photo, "--point", "20,15")
    assert (status, out) == (0, "")
    assert "1 mask of 1 image → street.overlay.txt" in err
    assert (tmp_path / "street.overlay.txt").read_text() == "street.png\n"


def test_points_of_one_command_mean_one_object_and_boxes_one_each(run: Run, photo: str) -> None:
    _, out, _ = run("segment", photo, "-p", "20,15", "-p", "5,5,0", "--json")
    assert len(json.loads(out)["masks"]) == 1
    _, out, _ = run("segment", photo, "-b", "1,1,5,5", "-b", "2,2,9,9", "--json")
    assert len(json.loads(out)["masks"]) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--box", "nan,0,5,5"], "finite numbers"),
        (["--box", "9,0,5,5"], "x1 < x2"),
        (["--box", "1,2,3"], "expected X1,Y1,X2,Y2"),
        (["--point", "1,2,7"], "1 (object) or 0 (background)"),
        (["--point", "a,b"], "expected X,Y[,0|1]"),
        (["--point", "500,2"], "outside the image"),
        (["--box", "500,2,600,9"], "misses the image"),
        (["--text", "bus"], "takes points, box; got a text prompt"),
        (["--text", " "], "text must be words"),
        ([], "nothing to segment"),
        (["--point", "1,1", "--box", "1,1,2,2", "--box", "3,3,4,4"], "use a --prompts file"),
        (["--box", "1,1,9,9", "--model", "defualt"], "unknown model 'defualt'; did you mean default?"),
        (["--box", "1,1,9,9", "--format", "overly"], "unknown mask sink 'overly'; did you mean overlay?"),
        (["--box", "1,1,9,9", "--device", "cuda"], "runs on cpu; got device 'cuda'"),
        (["--box", "1,1,9,9", "--device", "gpu"], "unknown device 'gpu'; expected auto, cpu, cuda"),
        (["--box", "1,1,9,9", "--memory", "lots"], "expected a size such as 512MB"),
        (["--box", "1,1,9,9", "--bogus"], "No such option"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(run: Run, photo: str, args: list[str], message: str) -> None:
    status, out, err = run("segment", photo, *args)
    assert message in err
    assert err.count("\n") == 1, err
    assert (status, out) == (2, "")


def test_words_become_boxes_by_the_source_named(run: Run, photo: str) -> None:
    _, _, err = run("segment", photo, "--text", "bus")
    assert "convert it with the source 'corner'" in err
    status, out, err = run("segment", photo, "--text", "bus", "--convert", "corner", "--json")
    assert status == 0, err
    [mask] = json.loads(out)["masks"]
    assert (mask["box"], mask["label"], mask["prompt"]) == ([0, 0, 5, 5], "corner", 0)
    status, _, err = run("segment", photo, "--text", "bus", "--convert", "cornr")
    assert (status, "did you mean corner?" in err) == (2, True)


@pytest.mark.parametrize("command", ["segment", "run"])
def test_the_old_name_of_convert_works_and_says_so(run: Run, photo: str, command: str) -> None:
    status, out, err = run(command, photo, "--text", "bus", "--lower", "corner", "--json")
    assert (status, json.loads(out)["masks"][0]["box"]) == (0, [0, 0, 5, 5])
    assert "--lower is now called --convert" in err


def test_a_mask_file_is_a_prompt(run: Run, photo: str, tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[2:12, 4:9] = 255
    Pillow.fromarray(mask).save(tmp_path / "mask.png")
    _, _, err = run("segment", photo, "--mask", "mask.png")
    assert "takes points, box; got a mask prompt" in err
    status, _, err = run("segment", photo, "--mask", "mask.png", "--box", "1,1,5,5", "--box", "2,2,9,9")
    assert (status, "--mask means one object" in err) == (2, True)


def test_masks_below_a_score_are_left_out(run: Run, photo: str) -> None:
    found = {}
    for score in ("0.1", "0.3"):  # the picture's grey is 51 of 255, which is what these masks score
        _, out, _ = run("segment", photo, "--box", "1,1,5,5", "--min-score", score, "--json")
        found[score] = len(json.loads(out)["masks"])
    assert found == {"0.1": 1, "0.3": 0}


def test_every_command_writes_to_several_sinks(run: Run, photo: str, tmp_path: Path) -> None:
    status, _, err = run("segment", photo, "--box", "1,1,5,5", "--sink", "overlay=a.txt", "--sink", "sheet=b.sheet")
    assert (status, "→ a.txt, b.sheet" in err) == (0, True)
    status, _, err = run("run", photo, "--box", "1,1,5,5", "--out", "c.txt")
    assert (status, "1 mask of 1 image → c.txt" in err) == (0, True)
    assert all((tmp_path / name).read_text() == "street.png\n" for name in ("a.txt", "b.sheet", "c.txt"))


def test_the_suffix_of_out_says_the_format(run: Run, photo: str, tmp_path: Path) -> None:
    status, _, err = run("segment", photo, "--box", "1,1,5,5", "--out", "masks.sheet")
    assert (status, (tmp_path / "masks.sheet").read_text()) == (0, "street.png\n"), err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--out", "masks.jpg"],
            "expected a file that one format writes; got 'masks.jpg', which none does; say --format",
        ),
        (["--out", "masks.png", "--format", "overlay"], "overlay writes a .txt file; got 'masks.png'; name one, or"),
        (["--sink", "sheet=a.txt"], "sheet writes a .sheet file; got 'a.txt'"),
    ],
)
def test_a_file_that_no_format_writes_is_no_folder(
    run: Run, photo: str, args: list[str], message: str, tmp_path: Path
) -> None:
    status, _, err = run("segment", photo, "--box", "1,1,5,5", *args)
    assert (status, err.count("\n"), message in err) == (2, 1, True), err
    assert [path.name for path in tmp_path.iterdir()] == [photo]


@pytest.mark.slow
def test_a_command_that_takes_long_says_what_it_is_doing(run: Run, photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "PATIENCE", 0.0)
    encode = FilledBoxes.encode

    def slowly(self: FilledBoxes, images: Sequence[Image]) -> list[Embedding]:
        time.sleep(0.3)
        return encode(self, images)

    monkeypatch.setattr(FilledBoxes, "encode", slowly)
    _, _, err = run("segment", photo, "--box", "1,1,5,5", "--cache", "off")
    assert "samovar: working on street.png with default …" in err
    assert err.rstrip().endswith("s)")
    _, _, err = run("segment", photo, "--box", "1,1,5,5", "--cache", "off", "--quiet")
    assert err == ""


def test_a_prompt_that_fits_some_images_fails_only_the_others(run: Run, photo: str, tmp_path: Path) -> None:
    Pillow.new("RGB", (10, 10)).save(tmp_path / "tiny.png")
    status, out, err = run("segment", photo, "tiny.png", "--box", "20,2,30,9", "--json")
    assert status == 1
    assert "misses the image" in err
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["written", "failed"]


def test_missing_files_are_named_once_and_the_rest_is_done(run: Run, photo: str) -> None:
    status, out, err = run("segment", "nowhere.png", photo, "--box", "1,1,9,9", "--json", "--quiet")
    assert status == 1
    assert err.count("nowhere.png") == 1
    assert [json.loads(line)["status"] for line in out.splitlines()].count("written") == 1


def test_auto_takes_sams_parameters(run: Run, photo: str) -> None:
    status, out, _ = run("auto", photo, "--json", "--points-per-side", "2", "--set", "pred_iou_thresh=0.1")
    assert status == 0
    assert len(json.loads(out)["masks"]) == 8  # two answers a point


@pytest.mark.parametrize(
    "setting", ["pred_iou_thresh=high", "pred_iou_tresh=0.5", "pred_iou_thresh", "crop_n_layers=9"]
)
def test_auto_refuses_wrong_settings(run: Run, photo: str, setting: str) -> None:
    status, _, err = run("auto", photo, "--set", setting)
    assert (status, err.count("\n")) == (2, 1)


def test_run_feeds_a_sources_prompts_to_every_sink_and_resumes(run: Run, photo: str, tmp_path: Path) -> None:
    command = ("run", ".", "--source", "corner", "--sink", "overlay=done.txt")
    status, _, err = run(*command)
    assert status == 0, err
    assert "1 mask of 1 image → done.txt" in err
    Pillow.new("RGB", (10, 10)).save(tmp_path / "later.png")
    status, _, err = run(*command)
    assert "1 mask of 1 image → done.txt; 1 already there" in err
    assert (tmp_path / "done.txt").read_text() == "street.png\nlater.png\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--source", "cornr", "--sink", "overlay=x.txt"], "unknown prompt source 'cornr'; did you mean corner?"),
        (["--sink", "overlay"], "expected NAME=PATH"),
        ([], "Missing option '--sink'"),
        (["--sink", "overlay=a.txt", "--sink", "overlay=b.txt"], "each sink may be given once"),
    ],
)
def test_run_refuses_wrong_sources_and_sinks(run: Run, photo: str, args: list[str], message: str) -> None:
    status, _, err = run("run", ".", *args)
    assert message in err
    assert (status, err.count("\n")) == (2, 1)


def test_the_file_of_one_image_is_refused_for_several_before_anything_is_done(run: Run, photo: str) -> None:
    for command in (
        ("run", ".", "--sink", "sheet=all.sheet"),
        ("segment", photo, photo, "--box", "1,1,9,9", "--format", "sheet", "--out", "all.sheet"),
    ):
        status, _, err = run(*command)
        assert (status, err) == (2, "samovar: 'all.sheet' is the file of one image; for several, name a folder\n")


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    status, _, err = run("segmnt", "x.png")
    assert "did you mean segment?" in err
    assert (status, err.count("\n")) == (2, 1)


def test_a_reader_that_goes_away_ends_the_command_quietly_and_is_no_failed_input() -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "samovar", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    command.stdout.close()  # as `head` does, before anything has been written
    assert command.stderr is not None
    said = command.stderr.read()
    command.stderr.close()
    assert (command.wait(), said) == (141, "")
