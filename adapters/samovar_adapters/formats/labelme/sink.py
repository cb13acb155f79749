"""Masks into labelme's JSON files."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar_adapters.formats.files import write_whole
from samovar_adapters.formats.names import file_of, stem_of
from samovar_adapters.formats.rings import with_slits
from samovar_adapters.formats.sink import ImageFileSink, files_below
from samovar_adapters.formats.text import numbers, pretty, short

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["UNLABELLED", "LabelmeSink"]

UNLABELLED = "object"
"""The label of masks without one: labelme has no shape without."""

_VERSION = "5.5.0"  # of labelme's format; every newer labelme reads it
_KEY = "samovar_key"


class LabelmeSink(ImageFileSink):
    """A labelme JSON file for every image, which refers to the image and does not contain it.

    labelme looks for a file with the image's name but for the suffix, so `a/b.jpg` goes to `a/b.json`. Where that is
    taken, by `a/b.png` or by somebody's own annotations, it goes to `a/b.jpg.json`: nothing is overwritten but what
    this sink wrote for the same image.

    Every connected region is a polygon; the regions of one mask share a `group_id`. labelme knows no holes: each is
    joined to its outline by a slit of no width. The score and the id are kept beside each shape.

    Args:
        path: a folder, made if missing (the images' own will do), or a `.json` file for one image.
        tolerance: how far, in pixels, an outline may move to need fewer points.

    Raises:
        InputError: a path that cannot be written.
    """

    name = "labelme"
    suffix = ".json"

    def __init__(self, path: str | os.PathLike[str], *, tolerance: float = 1.0) -> None:
        super().__init__(path)
        self._tolerance = tolerance

    def done(self) -> Iterable[str]:
        """The keys whose files are there; edited in labelme since, they still are."""
        files = () if self.single else files_below(self.path, self.suffix)
        return [key for file in files if (key := _key_in(file)) is not None]

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Write the file of one image. Raises SamovarError when the disk takes no more."""
        place = self._place(key)
        write_whole(place, self._encoded(key, image, masks, place))

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The file's bytes, if it lies at the top of the folder."""
        return self._encoded(key, image, masks, self.path / key)

    def _place(self, key: str) -> Path:
        if self.single:
            return super()._place(key)
        return next(place for place in self._candidates(key) if not place.exists() or _key_in(place) == key)

    def _candidates(self, key: str) -> Iterator[Path]:
        yield stem_of(self.path, key, self.suffix)
        yield file_of(self.path, key, self.suffix)
        yield from (file_of(self.path, key, f"-{number}{self.suffix}") for number in itertools.count(2))

    def _encoded(self, key: str, image: Image, masks: Masks, place: Path) -> bytes:
        return pretty(
            {
                "version": _VERSION,
                _KEY: key,
                "flags": {},
                "shapes": list(_shapes(masks, self._tolerance)),
                "imagePath": _from(place, image, key),
                "imageData": None,
                "imageHeight": masks.height,
                "imageWidth": masks.width,
            }
        )


def _shapes(masks: Masks, tolerance: float) -> Iterator[dict[str, Any]]:
    for i, regions in enumerate(masks.to_polygons(tolerance)):
        for region in regions:
            yield {
                "label": masks.labels[i] or UNLABELLED,
                "points": [numbers(point) for point in with_slits(region)],
                "group_id": i + 1 if len(regions) > 1 else None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "score": short(masks.scores[i]),
                "id": masks.ids[i],
            }


def _from(place: Path, image: Image, key: str) -> str:
    """The image's path from the JSON file's folder, with "/" between folders as labelme wants it everywhere."""
    if image.path is None:
        return key.rpartition("/")[2]
    target = Path(os.path.abspath(image.path))  # noqa: PTH100  (resolve() would follow links)
    try:
        return Path(os.path.relpath(target, os.path.abspath(place.parent))).as_posix()  # noqa: PTH100
    except ValueError:  # another drive
        return target.as_posix()


def _key_in(file: Path) -> str | None:
    """The key that this sink noted in a file; None for others' files, whatever they are."""
    try:
        data = file.read_bytes()
        # Looked for first: others' files may hold whole images, which are slow to parse.
        found = json.loads(data) if _KEY.encode() in data else None
    except (OSError, ValueError, RecursionError):
        return None
    key = found.get(_KEY) if isinstance(found, dict) else None
    return key if isinstance(key, str) else None
