"""Files of tracked masks: MOT and MOTS text, COCO-video JSON, and folders of indexed PNGs.

Each is a `TrackSink`; `open_masks` is the one for a path on the command line.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from PIL import Image as Pillow

from samovar.errors import InputError, SamovarError
from samovar.masks import Masks
from samovar.types import ObjectId
from samovar_adapters.formats import check_file, check_folder, failure, write_whole
from samovar_adapters.overlay import colours
from samovar_adapters.video.frames import Frame

__all__ = ["CocoVideo", "GrowingFile", "MaskFolder", "MotText", "MotsText", "Numbering", "TrackSink", "open_masks"]

_MOST = 255  # objects that the byte of a pixel can number
_MOTS_MOST = 999  # objects of a class, whose number is added to 1000 times that of the class


class TrackSink(Protocol):
    """Takes frames with their masks, in order.

    Attributes:
        problems: what could not be written so far, a line each.
    """

    problems: list[SamovarError]

    def write(self, frame: Frame, masks: Masks) -> None:
        """One frame and the masks of all objects, empty ones included."""

    def close(self) -> None:
        """Finish: after it the output is complete and valid."""


class Numbering:
    """Numbers for objects and labels, from 1 in the order of appearance, for formats that know nothing else.

    An id that is a positive number stays what it is as long as it is free.
    """

    def __init__(self) -> None:
        self._objects: dict[ObjectId, int] = {}
        self._kinds: dict[str | None, int] = {}

    def object(self, ident: ObjectId) -> int:
        """The object's number."""
        if ident not in self._objects:
            taken = set(self._objects.values())
            own = ident if isinstance(ident, int) and ident > 0 and ident not in taken else None
            self._objects[ident] = own or next(number for number in range(1, len(taken) + 2) if number not in taken)
        return self._objects[ident]

    def kind(self, label: str | None) -> int:
        """The number of a label; objects without one share one."""
        return self._kinds.setdefault(label, len(self._kinds) + 1)

    @property
    def kinds(self) -> dict[str | None, int]:
        """All labels so far with their numbers."""
        return dict(self._kinds)


def open_masks(path: str | os.PathLike[str], name: str, numbering: Numbering | None = None) -> TrackSink:
    """MOTS text for `.txt`, COCO-video for `.json`, else a folder of indexed PNGs.

    Args:
        name: of the video, for formats that keep it.
        numbering: shared by several outputs, so that an object has one number in all of them.

    Raises:
        InputError: another suffix, or a path that cannot be written.
    """
    path, numbering = Path(path), numbering or Numbering()
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return MotsText(path, numbering)
    if suffix == ".json":
        return CocoVideo(path, name, numbering)
    if suffix:
        raise InputError(f"--masks takes a .txt (MOTS), a .json (COCO-video) or a folder; got {str(path)!r}")
    return MaskFolder(path, numbering)


class _Unnumbered:
    """Objects whose numbers a format does not have: told once, in `problems`."""

    def __init__(self, path: Path, most: int, remedy: str, problems: list[SamovarError]) -> None:
        self._told, self._most, self._problems = set[int](), most, problems
        self._said = f"{path}: numbers its objects up to {most}; left out: {{}}; {remedy}"

    def has(self, number: int) -> bool:
        """Whether the format takes this number; what it does not take is told."""
        if number <= self._most:
            return True
        if number not in self._told:
            self._told.add(number)
            listed = ", ".join(map(str, sorted(self._told)[:10])) + (" …" if len(self._told) > 10 else "")
            self._problems[:] = [SamovarError(self._said.format(listed))]
        return False


class GrowingFile:
    """A text file that is complete after every piece of it, so that a killed run leaves what it had.

    It takes the place of a file at `path`, or goes on in it, when the first piece comes and not before: a run that
    fails before it has anything to say leaves an earlier run's file alone.
    """

    def __init__(self, path: Path, *, go_on: bool = False) -> None:
        self._path, self._mode = path, "ab" if go_on else "wb"
        self._file: FileIO | None = None

    def write(self, text: str) -> None:
        """Add a piece. Raises SamovarError when the disk takes no more."""
        try:
            if self._file is None:
                self._file = FileIO(self._path, self._mode)  # without a buffer, which would fail again when closed
            left = memoryview(text.encode())
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise failure(self._path, "write", error) from error

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._file is not None:
            self._file.close()


class _Text(ABC):
    """Challenge text: a line an object and frame, complete after every frame."""

    option: ClassVar[str]  # that names the file

    def __init__(self, path: Path, numbering: Numbering) -> None:
        check_file(path, self.option)
        self.problems: list[SamovarError] = []
        self._file, self._numbering = GrowingFile(path), numbering

    def write(self, frame: Frame, masks: Masks) -> None:
        """The lines of one frame. Raises SamovarError when the disk takes no more."""
        seen = masks[np.flatnonzero(masks.areas)]
        self._file.write("".join(f"{line}\n" for line in self.lines(frame.number + 1, seen)))

    @abstractmethod
    def lines(self, number: int, masks: Masks) -> Iterator[str]:
        """A line for each of the masks of a frame, none of them empty; frames count from 1."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class MotsText(_Text):
    """`frame id class height width rle`, as the MOTS Challenge has it: frames from 1, id = class × 1000 + object."""

    option = "--masks"

    def __init__(self, path: Path, numbering: Numbering) -> None:
        super().__init__(path, numbering)
        self._unnumbered = _Unnumbered(path, _MOTS_MOST, "name a .json, or give smaller ids", self.problems)

    def lines(self, number: int, masks: Masks) -> Iterator[str]:
        """See `_Text.lines`."""
        for ident, label, rle in zip(masks.ids, masks.labels, masks.to_coco_rle()):
            own, kind = self._numbering.object(ident), self._numbering.kind(label)
            if self._unnumbered.has(own):
                yield f"{number} {kind * 1000 + own} {kind} {masks.height} {masks.width} {rle['counts']}"


class MotText(_Text):
    """`frame,id,left,top,width,height,score,-1,-1,-1`, as the MOT Challenge has it: frames and pixels from 1."""

    option = "--mot"

    def lines(self, number: int, masks: Masks) -> Iterator[str]:
        """See `_Text.lines`."""
        for ident, (x1, y1, x2, y2), score in zip(masks.ids, masks.boxes.tolist(), masks.scores):
            box = f"{x1 + 1:.0f},{y1 + 1:.0f},{x2 - x1:.0f},{y2 - y1:.0f}"
            yield f"{number},{self._numbering.object(ident)},{box},{score:.4f},-1,-1,-1"


class CocoVideo:
    """COCO-video JSON, as YouTube-VIS has it: an annotation an object, with a mask or nothing for every frame.

    Collects compressed run lengths and writes the file when closed, whole or not at all; without a frame, not. What it
    holds grows with the number of masks, a few hundred bytes each: of the formats here, only this one cannot be written
    frame by frame.

    Args:
        name: of the video.
    """

    def __init__(self, path: Path, name: str, numbering: Numbering) -> None:
        check_file(path, "--masks")
        self.problems: list[SamovarError] = []
        self._path, self._name, self._numbering = path, name, numbering
        self._tracks: dict[ObjectId, dict[int, tuple[Any, list[float], int]]] = {}
        self._labels: dict[ObjectId, str | None] = {}
        self._size = 0, 0
        self._files: list[str] = []

    def write(self, frame: Frame, masks: Masks) -> None:
        """Keep one frame's masks."""
        self._size = masks.width, masks.height
        self._files.append(frame.image.name)
        for ident, label, rle, box, area in zip(
            masks.ids, masks.labels, masks.to_coco_rle(), masks.boxes.tolist(), masks.areas.tolist()
        ):
            if area:
                self._labels.setdefault(ident, label)
                x1, y1, x2, y2 = box
                self._tracks.setdefault(ident, {})[len(self._files) - 1] = rle, [x1, y1, x2 - x1, y2 - y1], area

    def close(self) -> None:
        """Write the file. Raises SamovarError when the disk takes no more."""
        if not self._files:
            return
        width, height = self._size
        length = len(self._files)
        annotations = []
        for ident, rows in self._tracks.items():
            frames = [rows.get(number) for number in range(length)]
            annotation = {
                "id": self._numbering.object(ident),
                "video_id": 1,
                "category_id": self._numbering.kind(self._labels[ident]),
                "iscrowd": 0,
                "width": width,
                "height": height,
                "length": length,
                "segmentations": [row and row[0] for row in frames],
                "bboxes": [row and row[1] for row in frames],
                "areas": [row and row[2] for row in frames],
            }
            annotations.append(annotation)
        video = {"id": 1, "name": self._name, "width": width, "height": height, "length": length}
        document = {
            "info": {"description": "masks tracked by Samovar"},
            "videos": [video | {"file_names": self._files}],
            "categories": [
                {"id": number, "name": label or "object", "supercategory": ""}
                for label, number in self._numbering.kinds.items()
            ],
            "annotations": annotations,
        }
        write_whole(self._path, json.dumps(document).encode())


class MaskFolder:
    """A folder with an indexed PNG for each frame, as DAVIS has it: each pixel the number of its object, 0 for none.

    `00000.png`, `00001.png` …, in the colours of the overlay. Objects with numbers above 255 are left out and told
    in `problems`.
    """

    def __init__(self, path: Path, numbering: Numbering) -> None:
        check_folder(path, "--masks")
        self.problems: list[SamovarError] = []
        self._path, self._numbering = path, numbering
        self._unnumbered = _Unnumbered(path, _MOST, "name a .json, or give smaller ids", self.problems)
        self._palette = np.vstack([np.zeros((1, 3), np.uint8), colours(_MOST)]).tobytes()

    def write(self, frame: Frame, masks: Masks) -> None:
        """One frame's file; where masks overlap the smaller shows."""
        page = np.zeros((masks.height, masks.width), np.uint8)
        crops = list(masks.crops())
        for index in np.argsort(-masks.areas, kind="stable").tolist():
            number = self._numbering.object(masks.ids[index])
            crop, x, y = crops[index]
            if self._unnumbered.has(number):
                page[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = number
        picture = Pillow.fromarray(page)
        picture.putpalette(self._palette)
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        write_whole(self._path / f"{frame.number:05d}.png", buffer.getvalue())

    def close(self) -> None:
        """Every frame is already there."""
