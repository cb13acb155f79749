"""COCO-video JSON, as YouTube-VIS has it: an annotation an object, with a mask or nothing for every frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from samovar.masks import Masks
from samovar.types import ObjectId
from samovar_adapters.formats import check_file, write_whole
from samovar_adapters.video.frames.frame import Frame
from samovar_adapters.video.outputs.numbering import Numbering

__all__ = ["CocoVideo"]


class CocoVideo:
    """Collects compressed run lengths and writes the file when closed, whole or not at all; without a frame, not.

    What it holds grows with the number of masks, a few hundred bytes each: of the formats here, only this one cannot be
    written frame by frame.

    Args:
        name: of the video.
    """

    def __init__(self, path: Path, name: str, numbering: Numbering) -> None:
        check_file(path, "--masks")
        self._path, self._name, self._numbering = path, name, numbering
        self._tracks: dict[ObjectId, dict[int, tuple[dict[str, Any], list[float], int]]] = {}
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
