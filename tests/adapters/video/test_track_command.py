"""`samovar track` as people run it, and everything that it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as coco

from samovar import Image, Masks
from samovar_adapters.video import Frame, open_masks
from samovar_adapters.video.session import identity_of
from tests.adapters.video.clips import ball, clip, meadow
from tests.adapters.video.files import times, write_video

pytestmark = pytest.mark.slow

FRAMES, TRUTH = clip(meadow(), [ball((210, 50, 40)), ball((50, 80, 220))], lambda n: [(40 + 4 * n, 50), (120, 90)], 24)
PROMPTS = ("--box", "23,33,58,68", "--box", "103,73,138,108")
AT = [Fraction(n * (n + 9), 400) for n in range(24)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "balls.mp4", FRAMES, at=AT, sound=True)


def samovar(*arguments: str, stdin: bytes | None = None, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "samovar", *arguments], input=stdin, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == status, done.stderr.decode()
    return done


def good(found: np.ndarray, truth: np.ndarray) -> bool:
    return bool(np.count_nonzero(found & truth) / np.count_nonzero(found | truth) > 0.75)


@pytest.fixture(scope="module")
def written(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    targets = ["--out", str(out / "overlay.mp4"), "--masks", str(out / "masks.json"), "--mot", str(out / "mot.txt")]
    samovar("track", str(video), *PROMPTS, "--label", "ball", *targets)
    return out


def test_the_overlay_keeps_times_and_sound(written: Path, video: Path) -> None:
    assert times(written / "overlay.mp4") == pytest.approx([float(at) for at in AT], abs=2e-3)

    def sound(path: Path) -> list[bytes]:
        with av.open(str(path)) as file:
            return [bytes(packet) for packet in file.demux(audio=0) if packet.size]

    assert sound(written / "overlay.mp4") == sound(video)


def test_coco_video_has_a_mask_for_every_object_and_frame(written: Path) -> None:
    document = json.loads((written / "masks.json").read_text())
    assert (document["videos"][0]["length"], document["categories"][0]["name"]) == (24, "ball")
    assert [one["id"] for one in document["annotations"]] == [1, 2]
    for index, annotation in enumerate(document["annotations"]):
        for number, (rle, area) in enumerate(zip(annotation["segmentations"], annotation["areas"])):
            found = coco.decode(rle) > 0
            assert found.sum() == area
            assert good(found, TRUTH[number][index])


def test_mot_has_the_boxes(written: Path) -> None:
    rows = [line.split(",") for line in (written / "mot.txt").read_text().splitlines()]
    assert [(row[0], row[1]) for row in rows] == [(str(n), str(i)) for n in range(1, 25) for i in (1, 2)]
    left, top, width, height = (float(value) for value in rows[0][2:6])
    assert (left, top, width, height) == pytest.approx((25, 35, 33, 33), abs=4)


def test_a_folder_gives_the_same_as_mots_text_and_as_pngs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, frame in enumerate(FRAMES[:6]):
        Pillow.fromarray(frame.pixels).save(tmp_path / "in" / f"{number}.png")
    samovar("track", str(tmp_path / "in"), *PROMPTS, "--masks", str(tmp_path / "mots.txt"))
    samovar("track", str(tmp_path / "in"), *PROMPTS, "--masks", str(tmp_path / "png"))
    lines = [line.split() for line in (tmp_path / "mots.txt").read_text().splitlines()]
    assert len(lines) == 12
    for place, ident, kind, height, width, rle in lines:
        assert (kind, height, width) == ("1", "128", "192")
        page = np.asarray(Pillow.open(tmp_path / "png" / f"{int(place) - 1:05d}.png"))
        found = coco.decode({"size": [128, 192], "counts": rle.encode()}) > 0
        assert np.array_equal(found, page == int(ident) - 1000)
        assert good(found, TRUTH[int(place) - 1][int(ident) - 1001])


def test_a_pipe_is_tracked_and_told_as_json_while_it_runs(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mkv", FRAMES[:6]).read_bytes()
    done = samovar("track", "-", *PROMPTS, "--json", stdin=data)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    assert [mask["id"] for mask in lines[5]["masks"]] == [1, 2]


def test_tracking_the_same_clip_again_encodes_nothing(video: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")

    def encoded() -> int:
        said = samovar("cache", "stats", "--json", "--cache", cache).stdout
        rows = [json.loads(line) for line in said.splitlines()]
        return sum(row["puts"] for row in rows if row["tier"] == "encoder")

    samovar("track", str(video), *PROMPTS[:2], "--cache", cache, "--masks", str(tmp_path / "one.txt"))
    once = encoded()
    assert once >= 24
    samovar("track", str(video), *PROMPTS[2:], "--cache", cache, "--masks", str(tmp_path / "two.txt"))
    assert encoded() == once


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_stopped_half_way_it_leaves_what_plays_and_goes_on_from_its_checkpoint(
    tmp_path: Path, kind: signal.Signals
) -> None:
    frames, _ = clip(meadow(), [ball((210, 50, 40))], lambda n: [(40 + n % 75, 60)], 150)
    source = write_video(tmp_path / "long.mp4", frames)
    command = ["track", str(source), "--box", "23,43,58,78", "--checkpoint", str(tmp_path / "progress")]
    outputs = ["--out", str(tmp_path / "o.mkv"), "--masks", str(tmp_path / "m.json"), "--mot", str(tmp_path / "b.txt")]
    running = subprocess.Popen(
        [sys.executable, "-m", "samovar", *command, *outputs], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    lines = tmp_path / "progress" / "masks.jsonl"
    deadline = time.monotonic() + 200
    while (not lines.exists() or len(lines.read_bytes().splitlines()) < 60) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(kind)
    _, said = running.communicate(timeout=60)
    if kind is signal.SIGINT:
        assert running.returncode == 130, said
        assert b"Traceback" not in said
        # One less than the checkpoint has, if the signal came while the frame at hand was written.
        assert 59 <= len(times(tmp_path / "o.mkv")) < 150
        assert 59 <= json.loads((tmp_path / "m.json").read_text())["videos"][0]["length"] < 150
    samovar(*command, *outputs)
    unbroken = [*command[:-1], str(tmp_path / "fresh"), "--mot", str(tmp_path / "whole.txt")]
    samovar(*unbroken)
    assert (tmp_path / "b.txt").read_text() == (tmp_path / "whole.txt").read_text()
    assert len(times(tmp_path / "o.mkv")) == 150
    done = samovar("track", str(source), "--box", "1,1,9,9", *command[4:], "--json", status=2)
    assert b"checkpoint of another run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), b"say what to follow"),
        (("--box", "1,1,9,9"), b"nowhere to put the masks"),
        (("--box", "1,1,9,9", "--masks", "a.xml"), b"MOTS"),
        (("--box", "1,1,9,9", "--source", "faces", "--json"), b"in one way"),
        (("--box", "1,1,9,9", "--every", "5", "--json"), b"asks a --source or a --text again"),
        (("--box", "1,1,9,9", "--json", "--engine", "memory"), b"has no memory of earlier frames"),
        (("--box", "900,900,990,990", "--json"), b"misses the image"),
        (("--box", "1,1,9,9", "--json", "--rate", "5"), b"--rate is for folders"),
        (("--box", "1,1,9,9", "--json", "--engine", "detections"), b"needs a detector"),
        (
            ("--box", "1,1,9,9", "--json", "--engine", "optical"),
            b"known: auto, detections, memory, propagate",
        ),
    ],
)
def test_usage_errors_are_one_line_and_status_two(video: Path, arguments: tuple[str, ...], said: bytes) -> None:
    done = samovar("track", str(video), *arguments, status=2)
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_stopped_without_a_checkpoint_it_promises_nothing(tmp_path: Path, kind: str) -> None:
    source = write_video(tmp_path / "a.mp4", FRAMES * 20)
    command = [sys.executable, "-m", "samovar", "track", str(source), *PROMPTS, "--json"]
    masks = tmp_path / "m.json"
    with subprocess.Popen(
        [*command, "--masks", str(masks)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        running.send_signal(getattr(signal, kind))
        lines, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said == "samovar: stopped; the outputs end here; with --checkpoint the same command would go on\n"
    assert json.loads(masks.read_text())["videos"][0]["length"] >= 1 + len(lines.splitlines())


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", FRAMES[:2])
    before = source.read_bytes()
    for option in ("--out", "--mot"):
        done = samovar("track", str(source), *PROMPTS, option, str(source), status=2)
        assert b"is what is read; name another file" in done.stderr
    assert source.read_bytes() == before


@pytest.mark.parametrize("masks", ["m.json", "m.txt"])
def test_a_run_that_comes_to_nothing_leaves_what_an_earlier_one_wrote(tmp_path: Path, masks: str) -> None:
    source = write_video(tmp_path / "a.mp4", FRAMES[:2])
    outputs = {"--out": tmp_path / "o.mp4", "--mot": tmp_path / "o.txt", "--masks": tmp_path / masks}
    for path in outputs.values():
        path.write_text("an evening's work")
    told = [str(part) for pair in outputs.items() for part in pair]
    samovar("track", str(source), "--box", "900,900,990,990", *told, status=2)
    assert [path.read_text() for path in outputs.values()] == ["an evening's work"] * 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
@pytest.mark.parametrize(("option", "name"), [("--out", "o.mp4"), ("--mot", "o.txt"), ("--masks", "m.txt")])
def test_a_full_disk_is_one_line(tmp_path: Path, option: str, name: str) -> None:
    source = write_video(tmp_path / "a.mp4", FRAMES[:2])
    (tmp_path / name).symlink_to("/dev/full")
    done = samovar("track", str(source), *PROMPTS, option, str(tmp_path / name), status=1)
    assert b"No space left on device; put that right and run again" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--masks", "m.txt", "--mot", "./m.txt"), b"--masks and --mot are both ./m.txt"),
        (("--out", "o.gif"), b"o.gif: cannot be written as video"),
        (("--out", "a" * 300 + ".mp4"), b"File name too long"),
        (("--masks", "a" * 300 + ".json"), b"File name too long"),
    ],
)
def test_outputs_that_cannot_be_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", FRAMES[:2])
    done = subprocess.run(
        [sys.executable, "-m", "samovar", "track", "a.mp4", *PROMPTS, *arguments],
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_names_with_colons_are_files_and_no_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", FRAMES[:3]).rename("12:30.mp4")
    samovar("track", "12:30.mp4", *PROMPTS, "--out", "out:1.mp4")
    assert len(times(tmp_path / "out:1.mp4")) == 3


def test_a_checkpoint_is_of_one_video_whatever_its_name(tmp_path: Path) -> None:
    small = [Image(np.ascontiguousarray(FRAMES[0].pixels[20:84, 20:84]))] * 52
    source = write_video(tmp_path / "a.mp4", small)
    command = ["track", str(source), "--box", "3,13,38,48", "--checkpoint", str(tmp_path / "progress"), "--json"]
    assert len(samovar(*command).stdout.splitlines()) == 52
    assert len(samovar(*command).stdout.splitlines()) == 52
    write_video(source, small[:51])
    assert b"checkpoint of another run" in samovar(*command, status=2).stderr


def test_a_checkpoint_is_of_the_images_that_a_folder_had(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        Pillow.fromarray(FRAMES[number].pixels).save(tmp_path / "in" / f"{number}.png")
    before = identity_of(str(tmp_path / "in"))
    assert identity_of(str(tmp_path / "in")) == before
    Pillow.fromarray(FRAMES[9].pixels).save(tmp_path / "in" / "1.png")
    assert identity_of(str(tmp_path / "in")) != before


def test_a_video_of_one_frame_of_odd_size(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Pillow.fromarray(FRAMES[0].pixels[:127, :191]).save(tmp_path / "in" / "only.png")
    samovar(
        "track", str(tmp_path / "in"), *PROMPTS, "--out", str(tmp_path / "o.mp4"), "--masks", str(tmp_path / "m.json")
    )
    with av.open(str(tmp_path / "o.mp4")) as file:
        (frame,) = file.decode(video=0)
    assert (frame.width, frame.height) == (192, 128)
    assert json.loads((tmp_path / "m.json").read_text())["videos"][0]["width"] == 191


def test_a_cut_video_is_tracked_as_far_as_it_goes_with_status_one(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.ts", FRAMES).read_bytes()
    (tmp_path / "cut.ts").write_bytes(whole[: len(whole) // 2])
    done = samovar("track", str(tmp_path / "cut.ts"), *PROMPTS, "--json")
    assert 3 < len(done.stdout.splitlines()) < 24


@pytest.mark.parametrize(("masks", "most"), [("m", 255), ("m.txt", 999)])
def test_objects_that_a_format_has_no_number_for_are_told(tmp_path: Path, masks: str, most: int) -> None:
    sink = open_masks(tmp_path / masks, "a video")
    both = Masks.from_array(np.eye(8, dtype=bool)[None].repeat(2, 0)).replace(ids=[most + 1, most])
    for number in range(2):
        sink.write(Frame(number, Fraction(number), FRAMES[0]), both)
    sink.close()
    (problem,) = sink.problems
    assert f"up to {most}; left out: {most + 1}; name a .json" in str(problem)
