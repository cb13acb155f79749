"""Makes track.jpg: four frames, side by side, of the video that it is given."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image


def main(video: str) -> None:
    with av.open(video) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    shown = [frames[place] for place in np.linspace(0, len(frames) - 1, 4).astype(int)]
    Image.fromarray(np.hstack(shown)).save(Path(__file__).parent / "track.jpg", quality=80)


if __name__ == "__main__":
    main(sys.argv[1])
