"""Masks as a YOLO segmentation data set."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.errors import InputError
from samovar_adapters.formats.files import check_folder, failure, sync, write_whole
from samovar_adapters.formats.names import stem_of
from samovar_adapters.formats.rings import one_ring
from samovar_adapters.formats.sink import Sink
from samovar_adapters.formats.yolo.classes import MARK, names_in, to_yaml

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["UNLABELLED", "YoloSink"]

UNLABELLED = "object"
"""The class of masks without a label."""

_BELOW = "./images/"


class YoloSink(Sink):
    """A folder with `labels/a/b.txt` for an image `a/b.jpg`, `data.yaml` with the classes, and `train.txt`.

    A line of a label file is a class number and the outline's points, x and y as fractions of the image's size. YOLO
    knows one ring a mask: holes and further parts are joined to it by slits of no width. Classes are numbered as they
    turn up. `train.txt` names the images as `./images/a/b.jpg`: put or link the images' folder beside it as `images`.
    Scores and ids have no place in the format.

    Args:
        path: a folder, made if missing, which may hold what this sink wrote earlier.
        tolerance: how far, in pixels, an outline may move to need fewer points.

    Raises:
        InputError: a path that cannot be written, or a data set that Samovar did not write.
    """

    def __init__(self, path: str | os.PathLike[str], *, tolerance: float = 1.0) -> None:
        self.path = Path(path)
        check_folder(self.path, "yolo")
        self._tolerance = tolerance
        self._lock = threading.Lock()
        self._classes_file, self._list = self.path / "data.yaml", self.path / "train.txt"
        self._classes = self._earlier_classes()
        self._images = self._earlier_images()  # label file → key

    def done(self) -> Iterable[str]:
        """The keys that are in the list of images: one is there only when its label file is whole."""
        with self._lock:
            return [key for file, key in self._images.items() if file.is_file()]

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Write one image's label file and add it to the list.

        Raises:
            InputError: another image has the same name but for the suffix, which YOLO cannot tell apart.
            SamovarError: the disk takes no more.
        """
        place = stem_of(self.path / "labels", key, ".txt")
        with self._lock:
            other = self._images.get(place, key)
            if other != key:
                raise InputError(
                    f"{key} and {other} would share {place}: YOLO tells images apart by their names without suffix; "
                    "rename one of them"
                )
            if "\n" in key or "\r" in key:
                raise InputError(f"{key!r}: YOLO lists images line by line; expected a name without line breaks")
            self._number([label or UNLABELLED for label in masks.labels])
            write_whole(place, self._lines(masks))
            if place not in self._images:
                self._add(key)
                self._images[place] = key

    def close(self) -> None:
        """Make sure that the list and the classes are there even if there was nothing to write. Idempotent."""
        with self._lock:
            if not self._classes_file.exists():
                write_whole(self._classes_file, to_yaml(list(self._classes)))
            if not self._list.exists():
                write_whole(self._list, b"")

    def _number(self, labels: Iterable[str]) -> None:
        """Number new classes, on the disk before any label file uses them."""
        fresh = [label for label in dict.fromkeys(labels) if label not in self._classes]
        if fresh:
            names = [*self._classes, *fresh]
            write_whole(self._classes_file, to_yaml(names))
            self._classes = {name: number for number, name in enumerate(names)}

    def _lines(self, masks: Masks) -> bytes:
        lines = []
        for label, regions in zip(masks.labels, masks.to_polygons(self._tolerance)):
            ring = one_ring(regions)
            if ring is not None:
                fractions = (ring / (masks.width, masks.height)).ravel().tolist()
                lines.append(" ".join([str(self._classes[label or UNLABELLED]), *map(_short, fractions)]))
        return "".join(line + "\n" for line in lines).encode("ascii")

    def _add(self, key: str) -> None:
        try:
            with self._list.open("ab") as file:
                file.write(f"{_BELOW}{key}\n".encode("utf-8", "surrogateescape"))
                file.flush()
                sync(file.fileno())
        except OSError as error:
            raise failure(self._list, "write", error) from error

    def _earlier_classes(self) -> dict[str, int]:
        if not self._classes_file.exists():
            return {}
        if not self._classes_file.read_text("utf-8", "replace").startswith(MARK):
            raise InputError(f"{self.path} holds a YOLO data set that Samovar did not write; name another folder")
        empty = self._classes_file.read_bytes() == to_yaml([])
        return {} if empty else {name: number for number, name in names_in(self._classes_file).items()}

    def _earlier_images(self) -> dict[Path, str]:
        if not self._list.exists():
            return {}
        data = self._list.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # a kill tore the last line
            write_whole(self._list, whole)
        keys = [line.removeprefix(_BELOW) for line in whole.decode("utf-8", "surrogateescape").split("\n")[:-1]]
        return {stem_of(self.path / "labels", key, ".txt"): key for key in keys}


def _short(fraction: float) -> str:
    return f"{fraction:.6f}".rstrip("0").rstrip(".")
