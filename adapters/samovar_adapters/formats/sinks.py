"""The base of sinks, and those of a small format: PNG masks, label maps, NumPy archives, polygons as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, MaskError
from samovar.masks.draw import topmost
from samovar_adapters.formats.files import (
    check_file,
    check_folder,
    file_of,
    files_below,
    key_of,
    write_folder,
    write_whole,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from samovar.image import Image
    from samovar.masks import Masks, Polygon

__all__ = [
    "ImageFileSink",
    "LabelMapSink",
    "NpzSink",
    "PngSink",
    "PolygonsSink",
    "Sink",
    "compact",
    "numbers",
    "png",
    "pretty",
    "read_masks",
    "short",
]


def compact(value: Any) -> bytes:
    """JSON on one line, UTF-8."""
    return _encode(value, separators=(",", ":"))


def pretty(value: Any) -> bytes:
    """JSON for people to read, UTF-8, ending in a newline."""
    return _encode(value, indent=2) + b"\n"


def _encode(value: Any, **layout: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, **layout)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a file name that is not valid Unicode: escapes survive the way back, bytes would not
        return json.dumps(value, allow_nan=False, **layout).encode()


def short(value: float | np.floating[Any]) -> float | int | None:
    """A float32 as the shortest decimal that reads back as the same float32; whole ones as integers; None for NaN."""
    number = np.float32(value)
    if not np.isfinite(number):
        return None
    shortest = float(str(number))
    return int(shortest) if shortest.is_integer() and abs(shortest) < 2**53 else shortest


def numbers(values: Iterable[Any]) -> list[float | int | None]:
    """`short` of each."""
    return [short(value) for value in values]


_LONGEST = 1_000_000  # pixels of a side that readers and writers of PNG take


def png(array: NDArray[Any]) -> bytes:
    """H×W uint8 or uint16 grey, or H×W×3 RGB or H×W×4 RGBA uint8, as PNG. The same bytes for the same array.

    Raises:
        InputError: a side longer than PNG files have.
    """
    if max(array.shape[:2]) > _LONGEST:
        size = f"{array.shape[1]}×{array.shape[0]}"
        raise InputError(
            f"a PNG has sides of at most {_LONGEST} pixels; got {size}; use npz or coco, or tile the image"
        )
    ordered = np.ascontiguousarray(array[..., [2, 1, 0, 3][: array.shape[2]]]) if array.ndim == 3 else array
    # Level 3 is where photos stop getting noticeably smaller and start to cost seconds.
    return cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


class Sink(ABC):
    """A mask sink that is also a context manager."""

    needs_pixels: ClassVar[bool] = False

    @abstractmethod
    def done(self) -> Iterable[str]:
        """The keys that are already written."""

    @abstractmethod
    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Keep one image's masks under `key`."""

    def close(self) -> None:  # noqa: B027  (most sinks have nothing left to do)
        """Finish. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ImageFileSink(Sink):
    """One file per image, written whole or not at all, in a folder that mirrors the keys' own folders.

    A path that ends in the format's suffix is the file of the one image instead of a folder, and always written anew.

    Args:
        path: a folder, made if missing, or a file for one image.

    Raises:
        InputError: a path that cannot be written.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.single = self.path.suffix.lower() == self.suffix and not os.path.isdir(path)  # noqa: PTH112
        self._written: str | None = None
        (check_file if self.single else check_folder)(self.path, self.name)

    def done(self) -> Iterable[str]:
        """The keys whose files are there: a file is there only when it is whole."""
        if not self.single:
            yield from (key_of(self.path, file, self.suffix) for file in files_below(self.path, self.suffix))

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Write the file of one image.

        Raises:
            SamovarError: it cannot be written; or the path is one image's file and this is the second.
        """
        write_whole(self._place(key), self.encode(key, image, masks))

    @abstractmethod
    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The contents of the file."""

    def _place(self, key: str) -> Path:
        if not self.single:
            return file_of(self.path, key, self.suffix)
        if self._written not in (None, key):
            raise InputError(f"{self.path} is the file of one image; got {self._written} and {key}; name a folder")
        self._written = key
        return self.path


_TABLE = "masks.csv"
_COLUMNS = ("file", "label", "id", "score", "x1", "y1", "x2", "y2", "area")


class PngSink(Sink):
    """A folder for every image (`a/b.jpg/`) with a PNG for every mask, and a table of what is known about each.

    The PNGs (`000.png`, `001.png` …) are 8-bit grey at the image's size, 255 on the mask and 0 elsewhere. `masks.csv`
    has a row for each: file, label, id, score, box (x1 y1 x2 y2, pixels) and area.

    Args:
        path: a folder, made if missing.

    Raises:
        InputError: a path that cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        check_folder(self.path, "png")

    def done(self) -> Iterable[str]:
        """The keys whose folders are there: a folder is there only when it is whole."""
        for table in files_below(self.path, _TABLE):
            unfinished = table.parent.name.startswith(".") and table.parent.name.endswith(".partial")
            if table.name == _TABLE and not unfinished:
                yield key_of(self.path, table.parent, "")

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Write the folder of one image, in one step.

        Raises:
            InputError: the folder is there and holds something else, such as another image's folder.
            SamovarError: the disk takes no more.
        """
        place = file_of(self.path, key, "")
        there = list(place.iterdir()) if place.is_dir() else []
        if any(path.suffix not in (".png", ".csv") or path.is_dir() for path in there):
            raise InputError(f"{place} holds something else than the masks of {key}; write to another folder")
        write_folder(place, _files(masks))


def _files(masks: Masks) -> Iterator[tuple[str, bytes]]:
    table = io.StringIO()
    rows = csv.writer(table)  # CRLF, as RFC 4180 has it: otherwise a lone CR in a label is not quoted
    rows.writerow(_COLUMNS)
    page = np.zeros((masks.height, masks.width), np.uint8)
    for i, (crop, x, y) in enumerate(masks.crops()):
        part = page[y : y + crop.shape[0], x : x + crop.shape[1]]
        part[crop] = 255
        yield f"{i:03}.png", png(page)
        part[crop] = 0
        box = masks.boxes[i].astype(int).tolist()
        rows.writerow([f"{i:03}.png", masks.labels[i], masks.ids[i], short(masks.scores[i]), *box, masks.areas[i]])
    yield _TABLE, table.getvalue().encode("utf-8", "backslashreplace")


_MOST = 65_535


class LabelMapSink(ImageFileSink):
    """A 16-bit grey PNG for every image: 0 is background, i + 1 is mask i. Where masks overlap, the smallest shows."""

    name = "labelmap"
    suffix = ".png"

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The PNG's bytes. Raises InputError for more masks than 16 bits can number."""
        if len(masks) > _MOST:
            raise InputError(f"{key}: a label map holds at most {_MOST} masks; got {len(masks)}; use npz or coco")
        return png(topmost(masks).astype(np.uint16))


class NpzSink(ImageFileSink):
    """A compressed `.npz` for every image, with the masks' bits packed inside their boxes. `read_masks` reads it back.

    Arrays in it:
        size: 2 int64, width and height of the image in pixels.
        boxes: N×4 int32, x1 y1 x2 y2 in whole pixels, right and bottom exclusive; 0 0 0 0 for an empty mask.
        bits: uint8; mask i is bits[offsets[i]:offsets[i + 1]], its box row by row, leftmost pixel in the highest bit.
        offsets: N+1 int64.
        scores: N float32. prompt_index: N int64.
        labels, ids: text, a JSON list of N each.
        logits: N×h×w float32, and stability: N float32, where the masks have them.
    """

    name = "npz"
    suffix = ".npz"

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The archive's bytes: the same for the same masks."""
        packed = [np.packbits(crop) for crop, _, _ in masks.crops()]
        arrays: dict[str, Any] = {
            "size": np.array([masks.width, masks.height], np.int64),
            "boxes": masks.boxes.astype(np.int32),
            "bits": np.concatenate([np.zeros(0, np.uint8), *packed]),
            "offsets": np.cumsum([0, *map(len, packed)], dtype=np.int64),
            "scores": masks.scores,
            "prompt_index": masks.prompt_index,
            "labels": np.array(json.dumps(masks.labels)),
            "ids": np.array(json.dumps(masks.ids)),
        }
        if masks.logits is not None:
            arrays["logits"] = masks.logits
        if masks.stability is not None:
            arrays["stability"] = masks.stability
        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        return data.getvalue()


def read_masks(path: str | os.PathLike[str]) -> Masks:
    """The masks of a file that `NpzSink` wrote, exactly as they were.

    Raises:
        MaskError: the file is missing, torn, or not one of these.
    """
    from samovar.masks import Masks

    place = Path(path)
    try:
        # Opened here: NumPy leaves a file that is no archive open.
        with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        width, height = found["size"].tolist()
        bits, offsets, boxes = found["bits"], found["offsets"].tolist(), found["boxes"]
        crops = []
        for (x1, y1, x2, y2), start, stop in zip(boxes.tolist(), offsets, offsets[1:]):
            shape = y2 - y1, x2 - x1
            if stop - start != -(-shape[0] * shape[1] // 8) or stop > len(bits):
                raise ValueError(f"{stop - start} bytes for a mask of {shape[1]}×{shape[0]} pixels")
            crops.append(np.unpackbits(bits[start:stop], count=shape[0] * shape[1]).reshape(shape).astype(bool))
        return Masks.from_crops(crops, boxes[:, :2], width, height).replace(
            scores=found["scores"],
            prompt_index=found["prompt_index"],
            labels=json.loads(str(found["labels"])),
            ids=json.loads(str(found["ids"])),
            logits=found.get("logits"),
            stability=found.get("stability"),
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise MaskError(f"{place}: expected masks that the npz sink wrote; got {error}; write them again") from error


class PolygonsSink(ImageFileSink):
    """A JSON file for every image: its key and size, and each mask's label, id, score, box, area and regions.

    A region is an exterior ring and the rings of its holes, [x, y] in pixels along the pixel edges.

    Args:
        path: a folder, made if missing, or a `.json` file for one image.
        tolerance: how far, in pixels, an outline may move to need fewer points; at 0 the polygons are exact.

    Raises:
        InputError: a path that cannot be written.
    """

    name = "polygons"
    suffix = ".json"

    def __init__(self, path: str | os.PathLike[str], *, tolerance: float = 0.0) -> None:
        super().__init__(path)
        self._tolerance = tolerance

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The file's bytes, one mask per line."""
        head = compact({"image": key, "width": masks.width, "height": masks.height})
        regions = masks.to_polygons(self._tolerance)
        rows = [compact(_row(masks, i, regions[i])) for i in range(len(masks))]
        return head[:-1] + b',"masks":[' + b",".join(b"\n" + row for row in rows) + b"\n]}\n"


def _row(masks: Masks, i: int, regions: list[Polygon]) -> dict[str, Any]:
    return {
        "label": masks.labels[i],
        "id": masks.ids[i],
        "score": short(masks.scores[i]),
        "box": numbers(masks.boxes[i]),
        "area": int(masks.areas[i]),
        "regions": [
            {
                "exterior": [numbers(point) for point in region.exterior],
                "holes": [[numbers(point) for point in hole] for hole in region.holes],
            }
            for region in regions
        ],
    }
