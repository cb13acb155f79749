"""Masks into one COCO annotation file, streamed through a journal."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial as partial_call
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from samovar.errors import InputError
from samovar_adapters.formats.coco.index import CocoFile
from samovar_adapters.formats.files import check_file, replacing
from samovar_adapters.formats.journal import Journal
from samovar_adapters.formats.names import order_of
from samovar_adapters.formats.sink import Sink
from samovar_adapters.formats.text import compact, numbers, short

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["UNLABELLED", "CocoSink"]

UNLABELLED = "object"
"""The category of masks without a label: COCO has no annotation without one."""

_INFO = {"description": "Masks written by Samovar", "contributor": "Samovar", "version": "1.0"}

Record = dict[str, Any]
"""One image: key, width, height, and its annotations in their final form but for ids, each with a label."""


class CocoSink(Sink):
    """One COCO JSON file: an image for every key, its masks as compressed RLE.

    While it is open, each image's masks go to a journal beside the file (`masks.json.partial`) and are on the disk when
    `write` returns; `close` makes the file from the journal and whatever the file held before, and puts it in its place
    in one step. What the file says depends only on what was written, never on the order or on how often it was
    interrupted: images are in the order of their keys, categories in that of their names, and ids count from 1.
    No more than one image's masks are in memory at a time.

    Args:
        path: a file, which may already hold what this sink wrote earlier; new images are then added to it.

    Raises:
        InputError: a path that cannot be written, or a file that Samovar did not write.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        check_file(self.path, "coco")
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._closed = False
        self._readers: dict[str, Callable[[], Record]] = {}  # for each key, how to read its record
        if self.path.exists():
            self._take_earlier(CocoFile(self.path))

    def done(self) -> Iterable[str]:
        """The keys in the file and in the journal of a run that was killed. Raises InputError if a run is under way."""
        with self._lock:
            self._opened()
            return list(self._readers)

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Add one image; on the disk when this returns. Raises SamovarError when the disk takes no more."""
        record = {"key": key, "width": masks.width, "height": masks.height, "annotations": _annotations(masks)}
        data = compact(record)
        with self._lock:
            if self._closed:
                raise InputError(f"{self.path} is closed; open another coco sink to add {key}")
            self._readers[key] = self._from_journal(*self._opened().append(data))

    def close(self) -> None:
        """Make the file whole and drop the journal. Raises SamovarError when the disk takes no more: call it again."""
        with self._lock:
            if self._closed:
                return
            journal = self._opened()
            if any(True for _ in journal.records()) or not self.path.exists():
                self._merge()
            journal.remove()
            self._closed = True

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self.path.with_name(self.path.name + ".partial"))
            for start, data in self._journal.records():
                self._readers[json.loads(data)["key"]] = self._from_journal(start, len(data))
        return self._journal

    def _from_journal(self, start: int, length: int) -> Callable[[], Record]:
        def read() -> Record:
            with self._opened().path.open("rb") as file:
                file.seek(start)
                record: Record = json.loads(file.read(length))
            return record

        return read

    def _take_earlier(self, earlier: CocoFile) -> None:
        if earlier.info.get("contributor") != _INFO["contributor"]:
            raise InputError(f"{self.path} holds annotations that Samovar did not write; name another file")
        for image, (key, size) in enumerate(zip(earlier.names, earlier.sizes)):
            self._readers[key] = partial_call(_earlier, earlier, image, key, size)

    def _records(self) -> Iterator[Record]:
        return (self._readers[key]() for key in sorted(self._readers, key=order_of))

    def _merge(self) -> None:
        with replacing(self.path) as file:
            _write(file, self._records)


def _annotations(masks: Masks) -> list[dict[str, Any]]:
    """The annotations of one image, without ids and with the label instead of a category."""
    rows = []
    boxes = masks.boxes
    for i, rle in enumerate(masks.to_coco_rle()):
        x1, y1, x2, y2 = boxes[i].tolist()
        row = {
            "label": masks.labels[i] or UNLABELLED,
            "segmentation": rle,
            "bbox": numbers((x1, y1, x2 - x1, y2 - y1)),
            "area": int(masks.areas[i]),
            "iscrowd": 0,
            "score": short(masks.scores[i]),
        }
        if masks.ids[i] is not None:
            row["source_id"] = masks.ids[i]
        rows.append(row)
    return rows


def _earlier(file: CocoFile, image: int, key: str, size: tuple[int, int] | None) -> Record:
    width, height = size or (0, 0)
    rows = []
    for _, annotation in file.annotations(image):
        label = file.categories[annotation.pop("category_id")]
        rows.append({"label": label, **{k: v for k, v in annotation.items() if k not in ("id", "image_id")}})
    return {"key": key, "width": width, "height": height, "annotations": rows}


def _write(file: IO[bytes], records: Callable[[], Iterator[Record]]) -> None:
    """The whole document, one image or annotation a line. Reads the records twice: labels and sizes first."""
    labels: set[str] = set()
    images = []
    for record in records():
        labels.update(row["label"] for row in record["annotations"])
        images.append((record["key"], record["width"], record["height"]))
    category_of = {label: number for number, label in enumerate(sorted(labels), 1)}

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for image, record in enumerate(records(), 1):
            for row in record["annotations"]:
                number += 1
                yield {"id": number, "image_id": image, "category_id": category_of[row.pop("label")], **row}

    sections: dict[str, Iterable[dict[str, Any]]] = {
        "categories": ({"id": n, "name": label, "supercategory": "none"} for label, n in category_of.items()),
        "images": (
            {"id": number, "file_name": key, "width": width, "height": height}
            for number, (key, width, height) in enumerate(images, 1)
        ),
        "annotations": annotations(),
    }
    file.write(b'{"info":' + compact(_INFO))
    for name, rows in sections.items():
        file.write(b',\n"' + name.encode() + b'":[')
        for index, row in enumerate(rows):
            file.write((b",\n" if index else b"\n") + compact(row))
        file.write(b"\n]")
    file.write(b"}\n")
