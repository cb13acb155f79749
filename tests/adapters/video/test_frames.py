"""Readers of frames: files, folders, pipes; what is rotated, uneven, damaged, cut short or no video at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from samovar import Image
from samovar.errors import InputError
from samovar_adapters.video.frames import Frame, open_frames, read_ahead
from tests.adapters.video.clips import ball, clip, meadow
from tests.adapters.video.files import write_video

FRAMES, _ = clip(meadow(), [ball((210, 50, 40))], lambda n: [(40 + 5 * n, 60)], 20)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one.astype(float) - other) ** 2) / 255**2 + 1e-12))


def test_a_video_has_its_frames_in_order_with_their_times(tmp_path: Path) -> None:
    at = [Fraction(n * n, 100) for n in range(20)]  # no two gaps alike
    frames = list(open_frames(str(write_video(tmp_path / "a.mp4", FRAMES, at=at))))
    assert [frame.number for frame in frames] == list(range(20))
    assert [float(frame.time) for frame in frames] == pytest.approx([float(time) for time in at], abs=2e-3)
    assert min(psnr(frame.image.pixels, true.pixels) for frame, true in zip(frames, FRAMES)) > 28


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_come_upright(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", FRAMES[:2], rotation=rotation)
    first = next(iter(open_frames(str(path))))
    assert psnr(first.image.pixels, np.rot90(FRAMES[0].pixels, rotation // 90)) > 28


LEAVE = """
import sys
from samovar_adapters.video.frames import open_frames
for _ in range(600):
    reader = open_frames(sys.argv[1])
    for number, frame in enumerate(reader):
        if number == 5:
            break
    reader.close()
    del reader, frame
"""


@pytest.mark.slow
def test_a_video_that_is_left_in_the_middle_never_hangs(tmp_path: Path) -> None:
    # Its decoder's threads still run then. Where they may speak to Python, most such runs lock up.
    frames, _ = clip(meadow(320, 208), [ball((210, 50, 40), 28)], lambda n: [(50 + 9 * n, 100)], 24)
    path = write_video(tmp_path / "a.mp4", frames)
    subprocess.run([sys.executable, "-c", LEAVE, str(path)], check=True, timeout=120)


def test_a_folder_is_read_in_natural_order_and_bad_pictures_are_named(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    for number in (1, 2, 9, 10):
        Pillow.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"\x89PNG but no more")
    Pillow.new("RGB", (9, 8)).save(tmp_path / "4.png")
    reader = open_frames(str(tmp_path), rate=Fraction(10))
    frames = list(reader)
    assert [int(frame.image.pixels[0, 0, 0]) for frame in frames] == [1, 2, 9, 10]
    assert [float(frame.time) for frame in frames] == [0, 0.1, 0.4, 0.5]
    assert ["3.png" in str(reader.problems[0]), "4.png" in str(reader.problems[1])] == [True, True]


def test_what_looks_like_a_number_and_is_none_does_not_disturb_the_order(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    for value, name in enumerate(("1.png", "1²2.png", "2.png")):
        Pillow.fromarray(np.full((8, 8, 3), value, np.uint8)).save(tmp_path / name)
    assert len(list(open_frames(str(tmp_path)))) == 3


def test_a_video_that_is_cut_short_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", FRAMES).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    reader = open_frames(str(tmp_path / "cut.mkv"))
    assert 0 < len(list(reader)) < 20

    mp4 = write_video(tmp_path / "a.mp4", FRAMES).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(mp4[: len(mp4) * 2 // 3])  # its index is at the end, which is gone
    with pytest.raises(InputError, match=r"cut\.mp4: expected a video"):
        open_frames(str(tmp_path / "cut.mp4"))


def test_damaged_frames_are_left_out_and_named(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "a.mp4", FRAMES).read_bytes())
    start = data.index(b"mdat") + 4
    spoilt = slice(start + (len(data) - start) // 2, start + (len(data) - start) // 2 + 3000)
    data[spoilt] = bytes(len(data[spoilt]))
    (tmp_path / "bad.mp4").write_bytes(data)
    reader = open_frames(str(tmp_path / "bad.mp4"))
    frames = list(reader)
    assert 5 < len(frames) < 20
    assert reader.problems
    assert all("bad.mp4" in str(problem) and "\n" not in str(problem) for problem in reader.problems)


def test_times_that_start_again_go_on(tmp_path: Path) -> None:
    part = write_video(tmp_path / "a.ts", FRAMES[:10]).read_bytes()
    (tmp_path / "twice.ts").write_bytes(part + part)
    reader = open_frames(str(tmp_path / "twice.ts"))
    at = [float(frame.time) for frame in reader]
    assert len(at) == 20
    assert np.diff(at) == pytest.approx(0.04, abs=0.02)


def test_a_stream_without_times_begins_at_zero(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.h264"), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for frame in FRAMES[:5]:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")))
        file.mux(stream.encode(None))
    assert [float(frame.time) for frame in open_frames(str(tmp_path / "a.h264"))] == [0, 0.04, 0.08, 0.12, 0.16]


def test_frames_that_an_edit_hides_do_not_cut_a_file_short(tmp_path: Path) -> None:
    at = [Fraction(number - 8, 25) for number in range(20)]  # those before zero are not shown
    reader = open_frames(str(write_video(tmp_path / "a.mp4", FRAMES, at=at)))
    shown = len(list(reader))
    assert reader.length == 20
    assert (shown, reader.problems) == (12, [])


def test_a_folder_is_one_video_without_the_folders_below_it(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    (tmp_path / "masks").mkdir()
    Pillow.new("RGB", (8, 8)).save(tmp_path / "masks" / "0.png")
    with pytest.raises(InputError, match="got 1 in folders below it"):
        open_frames(str(tmp_path))
    Pillow.new("RGB", (8, 8)).save(tmp_path / "0.png")
    assert len(list(open_frames(str(tmp_path)))) == 1


@pytest.mark.parametrize(
    ("name", "data"), [("empty.mp4", b""), ("text.mp4", b"not a video at all\n" * 50), ("sound.wav", None)]
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, name: str, data: bytes | None) -> None:
    path = tmp_path / name
    if data is None:
        import wave

        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(1600))
    else:
        path.write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: expected a video") as error:
        open_frames(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["nowhere.mp4", "camera:x", "camera:²", "camera:77", "n" * 300])
def test_sources_that_are_not_there(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=source):
        open_frames(source)
    with pytest.raises(InputError, match="expected a folder of images"):
        open_frames(str(tmp_path))


def test_reading_ahead_keeps_order_stays_bounded_and_stops_at_once(tmp_path: Path) -> None:
    read: list[int] = []
    hinted: list[Image] = []

    def source() -> Iterator[Frame]:
        for frame in open_frames(str(write_video(tmp_path / "a.mp4", FRAMES))):
            read.append(frame.number)
            yield frame

    frames = read_ahead(source(), hinted.extend)
    assert next(frames).number == 0
    assert next(frames).number == 1
    frames.close()
    assert len(read) <= 7
    assert len(hinted) == len(read)
    assert [frame.number for frame in read_ahead(source(), hinted.extend)] == list(range(20))
