"""One PNG per mask."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samovar.errors import InputError
from samovar_adapters.formats.files import check_folder, write_folder
from samovar_adapters.formats.names import file_of, key_of
from samovar_adapters.formats.pictures import png
from samovar_adapters.formats.sink import Sink, files_below
from samovar_adapters.formats.text import short

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["PngSink"]

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
