"""Overlay videos: whoever comes and goes keeps a colour; odd sizes grow; what a container cannot hold is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from samovar import Image, Masks
from samovar.errors import InputError
from samovar_adapters.video import Frame, OverlayVideo, open_frames
from tests.adapters.video.clips import meadow
from tests.adapters.video.files import times, write_video

GREY = Image(np.full((90, 121, 3), 128, np.uint8))


def square(x: int) -> np.ndarray:
    mask = np.zeros((1, 90, 121), np.bool_)
    mask[:, 20:60, x : x + 40] = True
    return mask


def test_objects_keep_their_colour_while_others_leave(tmp_path: Path) -> None:
    frames = open_frames(str(write_video(tmp_path / "in.mp4", [Image(meadow(120, 90))])))
    both = Masks.from_array(np.concatenate([square(5), square(70)])).replace(ids=[7, 9])
    video = OverlayVideo(tmp_path / "out.mp4", frames)
    for number, masks in enumerate([both, both[1:], both[[1, 0]], both[:0]]):
        video.write(Frame(number, Fraction(number, 10), GREY), masks)
    video.close()
    with av.open(str(tmp_path / "out.mp4")) as file:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
    assert pictures[0].shape == (90, 122, 3)
    left, right = (slice(45, 55), slice(15, 35)), (slice(45, 55), slice(80, 100))
    first = [pictures[0][place].mean((0, 1)) for place in (left, right)]
    assert np.abs(first[0] - first[1]).max() > 30
    assert pictures[1][right].mean((0, 1)) == pytest.approx(first[1], abs=6)
    assert pictures[2][left].mean((0, 1)) == pytest.approx(first[0], abs=6)
    assert pictures[3][right].mean((0, 1)) == pytest.approx([128] * 3, abs=6)


def test_sound_that_a_container_cannot_hold_is_left_out_and_said(tmp_path: Path) -> None:
    frames = open_frames(str(write_video(tmp_path / "in.mp4", [Image(meadow(120, 90))] * 3, sound=True)))
    video = OverlayVideo(tmp_path / "out.webm", frames)
    for frame in frames:
        video.write(frame, Masks.empty(120, 90))
    video.close()
    assert "takes no aac audio" in str(video.problems[0])
    with av.open(str(tmp_path / "out.webm")) as file:
        assert [stream.type for stream in file.streams] == ["video"]


def copied(path: Path, out: Path) -> OverlayVideo:
    """The overlay of nothing on every frame of a file."""
    frames = open_frames(str(path))
    video = OverlayVideo(out, frames)
    for frame in frames:
        video.write(frame, Masks.empty(frame.image.width, frame.image.height))
    video.close()
    return video


def test_audio_whose_times_do_not_go_on_costs_its_packets_and_not_the_video(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", [Image(meadow(120, 90))] * 25, sound=True)
    with av.open(str(source)) as file, av.open(str(tmp_path / "twice.mkv"), "w") as out:
        streams = {stream: out.add_stream_from_template(stream) for stream in file.streams}
        for packet in file.demux():
            if packet.dts is None:
                continue
            again = packet.stream.type == "audio" and packet.dts > 600
            packet.dts, packet.pts = (600, 600) if again else (packet.dts, packet.pts)  # several at one time
            packet.stream = streams[packet.stream]
            out.mux(packet)
    video = copied(tmp_path / "twice.mkv", tmp_path / "out.mp4")
    assert "packets of audio left out" in str(video.problems[0])
    assert len(times(tmp_path / "out.mp4")) == 25
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert sum(packet.size > 0 for packet in file.demux(audio=0)) > 3


@pytest.mark.parametrize(("width", "height", "colorspace"), [(128, 96, 6), (160, 720, 1)])
def test_colours_are_those_that_the_tags_say(tmp_path: Path, width: int, height: int, colorspace: int) -> None:
    pixels = np.full((height, width, 3), (30, 200, 60), np.uint8)
    copied(write_video(tmp_path / "in.mp4", [Image(pixels)]), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        context = file.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_range) == (colorspace, colorspace, 1)
        (frame,) = file.decode(video=0)
    luma = float(frame.to_ndarray()[: height // 2, : width // 2].mean())  # of planar YUV: the first rows are Y
    red, green = (0.2126, 0.7152) if colorspace == 1 else (0.299, 0.587)
    expected = 16 + 219 / 255 * (red * 30 + green * 200 + (1 - red - green) * 60)
    assert luma == pytest.approx(expected, abs=5)


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 120, 90, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(meadow(120, 90), format="rgb24")))
        file.mux(stream.encode(None))
    copied(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_a_recording_that_begins_late_does_not_begin_with_an_hour_of_nothing(tmp_path: Path) -> None:
    at = [3601 + Fraction(number, 25) for number in range(5)]
    video = write_video(tmp_path / "in.ts", [Image(meadow(120, 90))] * 5, at=at)
    copied(video, tmp_path / "out.mp4")
    shown = times(tmp_path / "out.mp4")
    assert shown[0] < 0.2
    assert np.diff(shown) == pytest.approx(0.04, abs=1e-3)


def test_objects_are_drawn_with_the_numbers_that_the_other_outputs_have(tmp_path: Path) -> None:
    from samovar.masks.draw import draw_overlay

    frames = open_frames(str(write_video(tmp_path / "in.mp4", [Image(meadow(120, 90))])))
    both = Masks.from_array(np.concatenate([square(5), square(70)])).replace(ids=[7, 3])
    video = OverlayVideo(tmp_path / "out.mp4", frames)
    video.write(Frame(0, Fraction(0), GREY), both)
    video.close()
    with av.open(str(tmp_path / "out.mp4")) as file:
        (drawn,) = (frame.to_ndarray(format="rgb24")[:90, :121].astype(int) for frame in file.decode(video=0))
    right, wrong = draw_overlay(GREY, both, numbers=[7, 3]).astype(int), draw_overlay(GREY, both).astype(int)
    digits = (right != wrong).any(axis=2)
    assert np.abs(drawn - right)[digits].mean() < 0.5 * np.abs(drawn - wrong)[digits].mean()


def test_paths_that_cannot_be_video_are_refused(tmp_path: Path) -> None:
    frames = open_frames(str(write_video(tmp_path / "in.mp4", [Image(meadow(120, 90))])))
    with pytest.raises(InputError, match="cannot be written as video"):
        OverlayVideo(tmp_path / "out.what", frames)
    OverlayVideo(tmp_path / "never.mp4", frames).close()
    assert not (tmp_path / "never.mp4").exists()


@pytest.mark.slow
def test_a_4k_frame_is_tracked(tmp_path: Path) -> None:
    import samovar
    from samovar import Prompt
    from samovar_plugins.propagate.tracker import PropagateTracker

    picture = np.ascontiguousarray(np.kron(meadow(192, 108), np.ones((20, 20, 1), np.uint8)))
    picture[800:1400, 1500:2300] = (210, 50, 40)
    tracker = PropagateTracker(samovar.load("default", cache="off"))
    tracker.start(Image(picture), Prompt(box=(1490, 790, 2310, 1410)))
    moved = np.roll(picture, 60, axis=1)
    x1, y1, x2, y2 = tracker.step(Image(moved)).boxes[0]
    assert (x1, y1, x2, y2) == pytest.approx((1560, 800, 2360, 1400), abs=40)
