"""Makes clip.mp4 from photo.jpg: a camera that passes over the cup and comes nearer."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
COUNT, SIZE = 48, (360, 240)


def main() -> None:
    photo = Image.open(HERE / "photo.jpg")
    with av.open(str(HERE / "clip.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=24, options={"crf": "27", "preset": "veryslow"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(COUNT):
            t = number / (COUNT - 1)
            width = 520 - 130 * t
            left, top = 70 + 60 * t + 60 * np.sin(3 * t - 1), 25 + 25 * t + 20 * np.sin(5 * t)
            box = (left, top, left + width, top + width * SIZE[1] / SIZE[0])
            frame = av.VideoFrame.from_image(photo.resize(SIZE, Image.Resampling.BICUBIC, box=box))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


if __name__ == "__main__":
    main()
