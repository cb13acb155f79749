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
from tests.adapters.video.files import write_video

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


def test_paths_that_cannot_be_video_are_refused(tmp_path: Path) -> None:
    frames = open_frames(str(write_video(tmp_path / "in.mp4", [Image(meadow(120, 90))])))
    with pytest.raises(InputError, match="cannot be written as video"):
        OverlayVideo(tmp_path / "out.what", frames)
    OverlayVideo(tmp_path / "never.mp4", frames).close()
    assert not (tmp_path / "never.mp4").exists()


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
