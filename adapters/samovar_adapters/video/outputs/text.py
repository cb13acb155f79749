"""MOT and MOTS Challenge text: a line an object and frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from samovar.masks import Masks
from samovar_adapters.formats import check_file
from samovar_adapters.video.frames.frame import Frame
from samovar_adapters.video.growing import GrowingFile
from samovar_adapters.video.outputs.numbering import Numbering

__all__ = ["MotText", "MotsText"]


class _Text(ABC):
    """A text file that is complete after every frame."""

    option: ClassVar[str]  # that names the file

    def __init__(self, path: Path, numbering: Numbering) -> None:
        check_file(path, self.option)
        self._file, self._numbering = GrowingFile(path), numbering

    def write(self, frame: Frame, masks: Masks) -> None:
        """The lines of one frame. Raises SamovarError when the disk takes no more."""
        seen = masks.areas.nonzero()[0].tolist()
        self._file.write("".join(f"{self.line(frame, masks[index])}\n" for index in seen))

    @abstractmethod
    def line(self, frame: Frame, mask: Masks) -> str:
        """One object's line."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class MotsText(_Text):
    """`frame id class height width rle`, as the MOTS Challenge has it: frames from 1, id = class × 1000 + object."""

    option = "--masks"

    def line(self, frame: Frame, mask: Masks) -> str:
        """One object's line."""
        number, kind = self._numbering.object(mask.ids[0]), self._numbering.kind(mask.labels[0])
        rle = mask.to_coco_rle()[0]["counts"]
        return f"{frame.number + 1} {kind * 1000 + number} {kind} {mask.height} {mask.width} {rle}"


class MotText(_Text):
    """`frame,id,left,top,width,height,score,-1,-1,-1`, as the MOT Challenge has it: frames and pixels from 1."""

    option = "--mot"

    def line(self, frame: Frame, mask: Masks) -> str:
        """One object's line."""
        x1, y1, x2, y2 = mask.boxes[0].tolist()
        box = f"{x1 + 1:.0f},{y1 + 1:.0f},{x2 - x1:.0f},{y2 - y1:.0f}"
        return f"{frame.number + 1},{self._numbering.object(mask.ids[0])},{box},{mask.scores[0]:.4f},-1,-1,-1"
