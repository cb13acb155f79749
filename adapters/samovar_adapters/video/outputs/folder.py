"""A folder with an indexed PNG for each frame, as DAVIS has it: each pixel the number of its object, 0 for none."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from samovar.masks import Masks
from samovar_adapters.formats import check_folder, write_whole
from samovar_adapters.overlay import colours
from samovar_adapters.video.frames.frame import Frame
from samovar_adapters.video.outputs.numbering import Numbering

__all__ = ["MaskFolder"]

_MOST = 255  # that a byte can number


class MaskFolder:
    """`00000.png`, `00001.png` …, in the colours of the overlay. Objects beyond the 255th are not in them."""

    def __init__(self, path: Path, numbering: Numbering) -> None:
        check_folder(path, "--masks")
        self._path, self._numbering = path, numbering
        self._palette = np.vstack([np.zeros((1, 3), np.uint8), colours(_MOST)]).tobytes()

    def write(self, frame: Frame, masks: Masks) -> None:
        """One frame's file; where masks overlap the smaller shows."""
        page = np.zeros((masks.height, masks.width), np.uint8)
        for index in np.argsort(-masks.areas, kind="stable").tolist():
            number = self._numbering.object(masks.ids[index])
            crop, x, y = next(masks[index].crops())
            if number <= _MOST:
                page[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = number
        picture = Pillow.fromarray(page)
        picture.putpalette(self._palette)
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        write_whole(self._path / f"{frame.number:05d}.png", buffer.getvalue())

    def close(self) -> None:
        """Every frame is already there."""
