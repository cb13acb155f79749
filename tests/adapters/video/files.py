"""Video files for tests, written with PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from samovar import Image

__all__ = ["SOUND_RATE", "times", "write_video"]

SOUND_RATE = 16_000


def write_video(
    path: Path,
    frames: Sequence[Image],
    *,
    at: Sequence[Fraction] | None = None,
    rotation: int = 0,
    sound: bool = False,
) -> Path:
    """H.264, each frame at its time in seconds (25 a second if not given).

    Args:
        rotation: degrees counter-clockwise that players turn the frames by.
        sound: add a tone as AAC.
    """
    at = at or [Fraction(number, 25) for number in range(len(frames))]
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast"})
        video.height, video.width = frames[0].pixels.shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            video.set_display_rotation(rotation)
        tone = file.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for frame, time in zip(frames, at):
            picture = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            picture.pts, picture.time_base = round(time * 1000), Fraction(1, 1000)
            file.mux(video.encode(picture))
        file.mux(video.encode(None))
        if tone is not None:
            count = round(float(at[-1]) * SOUND_RATE)
            wave = (np.sin(np.arange(count) * 2 * np.pi * 440 / SOUND_RATE) * 0.3).astype(np.float32)
            samples = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            samples.rate, samples.pts = SOUND_RATE, 0
            file.mux(tone.encode(samples))
            file.mux(tone.encode(None))
    return path


def times(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as file:
        return [round(float(frame.time or 0), 3) for frame in file.decode(video=0)]
