"""COCO annotation files: as prompts, and masks streamed into one through a journal."""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from samovar.errors import InputError, SamovarError
from samovar.image import Image
from samovar_adapters.formats.annotations import Annotation, AnnotationSource, NameIndex, Wanted, check_size, name_of
from samovar_adapters.formats.coco_file import CocoFile, problem
from samovar_adapters.formats.files import check_file, failure, order_of, replacing, sync
from samovar_adapters.formats.sinks import Sink, compact, numbers, short

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["UNLABELLED", "CocoSink", "CocoSource", "Journal", "boxes", "masks", "points"]


class CocoSource(AnnotationSource):
    """The annotations of a COCO file, by the file names of images.

    The file is read once when the source is made, to find where each image's annotations are; they themselves stay on
    disk. Crowd regions (`iscrowd` 1) are groups, not objects: they give no prompts and are counted, unless the file's
    name is followed by `,crowd=keep`, as for tools that mark every mask as one. A list of results has no file names:
    its image ids are those of COCO's own files (139 is 000000000139.jpg) or the names without suffix.

    Args:
        path: the annotation file.
        wanted: "boxes" (`bbox`), "points" (one, deepest inside the segmentation) or "masks" (the segmentation).

    Raises:
        InputError: no file given, or one that is malformed; names the line and the item.
    """

    def __init__(self, path: str | None, wanted: Wanted = "boxes") -> None:
        super().__init__(wanted)
        place, comma, crowd = (path or "").rpartition(",crowd=")
        if comma and crowd not in ("keep", "skip"):
            raise InputError(f"coco: crowd: expected keep or skip; got {crowd!r}")
        place = place if comma else path or ""
        if not place:
            raise InputError("coco needs an annotation file; name it, as in coco-boxes=annotations.json")
        self._keep_crowds = crowd == "keep"
        self._crowds: set[str] = set()
        self._file = CocoFile(Path(place))
        self.index = NameIndex([_file_name(name) for name in self._file.names], place)

    def tries(self, image: Image) -> Sequence[str]:
        """The image's path; for results what an image id can be of it."""
        if not self._file.results:
            return super().tries(image)
        stem = PurePosixPath(name_of(image)).stem
        return (stem, stem.lstrip("0") or "0") if stem.isdecimal() else (stem,)

    def annotations(self, image: Image) -> Iterable[Annotation | InputError]:
        """One for each annotation that is taken, with its category's name as label and its id."""
        place = next((found for name in self.tries(image) if (found := self.index.find(name)) is not None), None)
        if place is None:
            return
        check_size(image, self._file.path, self._file.sizes[place])
        for where, row in self._file.annotations(place):
            wrong = problem(row, self._file.categories)
            if wrong is not None:
                yield InputError(f"{where}: {wrong}")
            elif self._keep_crowds or str(row.get("iscrowd", 0)).lower() in ("0", "false", "none"):
                yield self._annotation(where, row)
            else:
                self._crowds.add(where)

    @property
    def problems(self) -> list[SamovarError]:
        """As of every source of annotations, and how many crowd regions were left out."""
        lines = [f"left out {one}" for one in self._file.problems]
        count, path = len(self._crowds), self._file.path
        if count:
            regions = f"{count} crowd region{'s' * (count != 1)}"
            lines.append(f"left out {regions} of {path}; to take them say {path},crowd=keep")
        return [*super().problems, *map(InputError, lines)]

    def _annotation(self, where: str, found: dict[str, Any]) -> Annotation:
        box, category = found.get("bbox") or None, found.get("category_id")
        return Annotation(
            where,
            None if category is None else self._file.categories.get(category, str(category)),
            found.get("id"),
            None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3]),
            found.get("segmentation") or None,
            rule="coco",
        )


def _file_name(name: str) -> str:
    """What a file was called at the address that some files give for it."""
    return unquote(urlsplit(name).path).rpartition("/")[2] or name if "://" in name else name


boxes = partial(CocoSource, wanted="boxes")
points = partial(CocoSource, wanted="points")
masks = partial(CocoSource, wanted="masks")

_PREFIX = 9  # eight hexadecimal digits of CRC-32 and a space


class Journal:
    """Records of bytes without newlines, one a line: eight hexadecimal digits of CRC-32, a space, the record.

    Opening it drops what a kill left unfinished: everything from the first line on that lacks its newline or fails its
    checksum. One process at a time may have it open, where the system has advisory locks.

    Raises:
        InputError: another process has it open.
        SamovarError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise failure(path, "open", error) from error
        self._lock()
        self._end = 0
        for start, record in self.records():
            self._end = start + len(record) + 1
        self._file.truncate(self._end)

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: the lock only guards against a slip, so do without
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InputError(
                f"{self.path} is being written by another process; wait for it, or write to another file"
            ) from error

    def append(self, record: bytes) -> tuple[int, int]:
        """Add a record; return the offset and length of its bytes in the file. Raises SamovarError, adding nothing."""
        line = b"%08x %b\n" % (zlib.crc32(record), record)
        try:
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]
            sync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._end)
            raise failure(self.path, "write", error) from error
        start, self._end = self._end + _PREFIX, self._end + len(line)
        return start, len(record)

    def records(self) -> Iterator[tuple[int, bytes]]:
        """The offset and bytes of every record, in order, read one at a time, up to the first torn one."""
        offset = 0
        with self.path.open("rb") as file:
            for line in file:
                record = line[_PREFIX:-1]
                if line[-1:] != b"\n" or line[:_PREFIX] != b"%08x " % zlib.crc32(record):
                    return
                yield offset + _PREFIX, record
                offset += len(line)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        self._file.close()

    def remove(self) -> None:
        """Delete it and let go of it."""
        if os.name == "posix":  # while it is still locked, so that nobody picks it up in between
            self.path.unlink(missing_ok=True)
        self.close()
        self.path.unlink(missing_ok=True)


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
        keep_empty: whether to write masks without a pixel, at which many trainers stop; they are counted otherwise.

    Raises:
        InputError: a path that cannot be written, or a file that Samovar did not write.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep_empty: bool = False) -> None:
        self.path = Path(path)
        check_file(self.path, "coco")
        self._keep_empty, self._empty = keep_empty, 0
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
        kept = masks if self._keep_empty or masks.areas.all() else masks[masks.areas > 0]
        record = {"key": key, "width": masks.width, "height": masks.height, "annotations": _annotations(kept)}
        data = compact(record)
        with self._lock:
            if self._closed:
                raise InputError(f"{self.path} is closed; open another coco sink to add {key}")
            self._readers[key] = self._from_journal(*self._opened().append(data))
            self._empty += len(masks) - len(kept)

    @property
    def problems(self) -> list[SamovarError]:
        """How many masks without a pixel were left out."""
        masks = f"{self._empty} mask{'s' * (self._empty != 1)}"
        return [InputError(f"left out {masks} without a pixel of {self.path}")] if self._empty else []

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
            self._readers[key] = partial(_earlier, earlier, image, key, size)

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
