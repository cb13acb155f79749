"""Frames read last first, and objects followed to both ends of a video from a frame in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as coco

import samovar
from samovar import Image, Prompt
from samovar.errors import InputError
from samovar_adapters.video import BackwardMasks, follow, follow_back, open_frames
from samovar_plugins.propagate.tracker import PropagateTracker
from tests.adapters.video.clips import ball, clip, iou, meadow
from tests.adapters.video.files import write_video

pytestmark = pytest.mark.slow

FRAMES, TRUTH = clip(meadow(), [ball((210, 50, 40))], lambda n: [(40 + 5 * n, 60)], 20)
MIDDLE = 8
X = 40 + 5 * MIDDLE
BOX = (X - 17, 43, X + 18, 78)


def folder(path: Path, frames: list[Image]) -> Path:
    path.mkdir()
    for number, frame in enumerate(frames):
        Pillow.fromarray(frame.pixels).save(path / f"{number}.png")
    return path


def every_frame_differs(path: Path, count: int, options: dict[str, str]) -> Path:
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(count):
            pixels = np.kron(random.integers(0, 255, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
            file.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(video.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "options",
    [{"g": "250", "bf": "3"}, {"g": "12", "bf": "3"}, {"g": "10", "bf": "2", "x264-params": "open-gop=1"}, {"g": "1"}],
    ids=["one group", "short groups", "open groups", "only key frames"],
)
def test_backwards_a_file_has_the_same_frames(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = str(every_frame_differs(tmp_path / f"a{suffix}", 60, options))
    onwards = list(open_frames(path))[:51]
    back = list(open_frames(path).backwards(50))
    assert [frame.number for frame in back] == list(range(50, -1, -1))
    for frame, same in zip(onwards, reversed(back)):
        assert frame.time == same.time
        assert np.array_equal(frame.image.pixels, same.image.pixels)


def test_backwards_a_folder_leaves_out_what_it_leaves_out_onwards(tmp_path: Path) -> None:
    path = folder(tmp_path / "in", FRAMES[:5])
    (path / "2.png").write_bytes(b"\x89PNG but no more")
    back = list(open_frames(str(path)).backwards(3))
    assert [(frame.number, float(frame.time)) for frame in back] == [(3, 0.16), (2, 0.12), (1, 0.04), (0, 0)]
    assert np.array_equal(back[1].image.pixels, FRAMES[3].pixels)


def test_what_cannot_be_read_backwards_is_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", FRAMES)
    with pytest.raises(InputError, match=r"a\.mp4: no frame 20; expected one from 0 to 19"):
        next(open_frames(str(path)).backwards(20))
    bare = every_frame_differs(tmp_path / "a.h264", 10, {})
    with pytest.raises(InputError, match="its frames have no times"):
        next(open_frames(str(bare)).backwards(5))


def test_an_object_is_followed_to_both_ends(tmp_path: Path) -> None:
    path = str(folder(tmp_path / "in", FRAMES))
    tracker, prompt, earlier = (
        PropagateTracker(samovar.load("default", cache="off")),
        Prompt(box=BOX, id="red"),
        BackwardMasks(),
    )
    back = [frame.number for frame in follow_back(open_frames(path).backwards(MIDDLE), tracker, prompt, earlier)]
    assert back == list(range(MIDDLE - 1, -1, -1))
    found = list(follow(open_frames(path), tracker, prompt, earlier=earlier))
    assert [frame.number for frame, _ in found] == list(range(20))
    for (_, masks), (truth,) in zip(found, TRUTH):
        assert masks.ids == ("red",)
        assert iou(masks, 0, truth) > 0.75
    earlier.close()


def track(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "samovar", "track", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_writes_all_frames_in_order(tmp_path: Path) -> None:
    video = str(write_video(tmp_path / "a.mp4", FRAMES))
    box = ",".join(str(value) for value in BOX)
    done = track(video, "--box", box, "--at", str(MIDDLE), "--json", "--masks", str(tmp_path / "masks.json"))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == list(range(20))
    (annotation,) = json.loads((tmp_path / "masks.json").read_text())["annotations"]
    for rle, (truth,) in zip(annotation["segmentations"], TRUTH):
        mask = coco.decode(rle) > 0
        assert np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth) > 0.75


@pytest.mark.parametrize(
    ("video", "options", "said"),
    [
        ("-", (), "needs a file or a folder"),
        ("in", ("--checkpoint", "progress"), "keeps no --checkpoint"),
        ("in", (), "no frame 8; expected one from 0 to 1"),
    ],
)
def test_where_it_cannot_go_it_says_so(
    tmp_path: Path, video: str, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "in", FRAMES[:2])
    done = track(video, "--box", "1,1,9,9", "--at", "8", "--json", *options)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
