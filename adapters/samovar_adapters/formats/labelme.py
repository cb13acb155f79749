"""labelme's JSON files: as prompts, and masks in them."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from samovar.errors import InputError
from samovar.image import Image
from samovar.masks import Masks
from samovar_adapters.formats.annotations import Annotation, AnnotationSource, NameIndex, Wanted, check_size, name_of
from samovar_adapters.formats.files import file_of, files_below, stem_of, write_whole
from samovar_adapters.formats.shapes import with_slits
from samovar_adapters.formats.sinks import ImageFileSink, numbers, pretty, short

__all__ = ["UNLABELLED", "LabelmeSink", "LabelmeSource", "boxes", "drawn", "masks", "points"]

_AREAS = {"polygon", "rectangle", "oriented_rectangle", "rotation", "circle", "mask"}
_CLICKS = {"point", "points", "line", "linestrip"}
_FARTHEST = 1 << 24  # pixels; no mask has coordinates beyond
_MOST_CORNERS = 4096  # of a circle


class LabelmeSource(AnnotationSource):
    """The shapes in labelme's JSON files: a folder of them, or one file.

    A file belongs to the image whose name it has but for the suffix (`b.json` or `b.jpg.json` to `b.jpg`), unless its
    `imagePath` is another image that is there. Shapes that share a `group_id` and a label are one object. Its id is the
    place of its first shape in the file, from 0.

    Args:
        path: a folder or a file.
        wanted: "drawn" (areas as boxes; points, and the corners of lines, as points; both in one group as both),
            "boxes" (of areas), "points" (one deepest inside an area, or as drawn) or "masks" (of areas).

    Raises:
        InputError: no such folder or file.
    """

    def __init__(self, path: str | None, wanted: Wanted = "drawn") -> None:
        super().__init__(wanted)
        if not path:
            raise InputError("labelme needs a folder of its JSON files, or one; name it, as in labelme=annotations/")
        root = Path(path)
        if not root.exists():
            raise InputError(f"{path}: no such file or folder; expected labelme's JSON files")
        self._files = list(files_below(root, ".json")) if root.is_dir() else [root]
        base = root if root.is_dir() else root.parent
        names = [file.relative_to(base).as_posix().removesuffix(".json") for file in self._files]
        self.index = NameIndex(names, path, [os.path.abspath(file.with_suffix("")) for file in self._files])  # noqa: PTH100

    def tries(self, image: Image) -> Sequence[str]:
        """The image's path, with its suffix and without."""
        name = name_of(image)
        return name, str(PurePosixPath(name).with_suffix(""))

    def annotations(self, image: Image) -> Iterable[Annotation | InputError]:
        """One for each object, in the order of their first shapes."""
        found = self._found(image)
        if found is None:
            return
        file, content = found
        check_size(image, file, (content.get("imageWidth"), content.get("imageHeight")))
        wrong = [_problem(shape) for shape in content["shapes"]]
        for place, problem in enumerate(wrong):
            if problem is not None:
                yield InputError(f"{file}: shapes[{place}]: {problem}")
        for place, shapes in _objects(content["shapes"], wrong):
            try:
                one: Annotation | InputError = _annotation(f"{file}: shapes[{place}]", place, shapes, image)
            except InputError as error:  # a painted mask that cannot be read
                one = error
            yield one

    def _found(self, image: Image) -> tuple[Path, dict[str, Any]] | None:
        for wanted in self.tries(image):
            index = self.index.find(wanted)
            if index is not None:
                content = _read(self._files[index])
                said = content["imagePath"].replace("\\", "/")
                name = PurePosixPath(name_of(image)).name.casefold()
                if PurePosixPath(said).name.casefold() == name or not (self._files[index].parent / said).is_file():
                    return self._files[index], content
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not valid JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("imagePath"), str):
        raise InputError(f'{file}: expected a labelme file with "imagePath" and "shapes"')
    shapes = content.get("shapes")
    if not isinstance(shapes, list):
        raise InputError(f"{file}: shapes: expected a list; got {shapes!r:.60}")
    return content


def _problem(shape: Any) -> str | None:
    """What is wrong with a shape, if anything."""
    if not isinstance(shape, dict):
        return f"expected an object; got {shape!r:.60}"
    kind, at = _kind(shape), shape.get("points")
    if not isinstance(shape.get("label"), (str, int, float, type(None))):
        return f"label: expected text; got {shape.get('label')!r:.60}"
    if kind not in _AREAS | _CLICKS:
        return f"shape_type: expected one of {', '.join(sorted(_AREAS | _CLICKS))}; got {kind!r:.60}"
    least = {"polygon": 3, "oriented_rectangle": 4, "rotation": 4, "circle": 2, "rectangle": 2, "mask": 2}.get(kind, 1)
    if not isinstance(at, list) or len(at) < least or not all(map(_is_point, at)):
        return f"points: expected at least {least} of [x, y]; got {at!r:.60}"
    if not isinstance(shape.get("group_id"), (int, str, type(None))):
        return f"group_id: expected an integer; got {shape['group_id']!r:.60}"
    return None


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, (int, float)) and abs(number) < _FARTHEST for number in value)
    )


def _kind(shape: dict[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")


def _objects(shapes: list[Any], wrong: list[str | None]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The shapes of each object, but those that are wrong, with the place of the first of them."""
    groups: dict[Any, tuple[int, list[dict[str, Any]]]] = {}
    for place, (shape, problem) in enumerate(zip(shapes, wrong)):
        if problem is None:
            group = shape.get("group_id")
            key = ("alone", place) if group is None else ("group", group, shape.get("label"))
            groups.setdefault(key, (place, []))[1].append(shape)
    yield from groups.values()


def _annotation(where: str, place: int, shapes: list[dict[str, Any]], image: Image) -> Annotation:
    areas = [shape for shape in shapes if _kind(shape) in _AREAS]
    clicks = [(float(x), float(y)) for shape in shapes if _kind(shape) in _CLICKS for x, y in shape["points"]]
    rings = [_ring(shape) for shape in areas if _kind(shape) != "mask"]
    outline: Any = rings or None
    if len(rings) < len(areas):
        drawn = [Masks.from_polygons([[ring]], image.width, image.height) for ring in rings]
        painted = [_painted(where, shape, image) for shape in areas if _kind(shape) == "mask"]
        outline = Masks.concat([*drawn, *painted]).union()
    corners = np.concatenate([np.asarray(ring, float) for ring in rings]) if rings else None
    box = None  # with a painted mask among them, the box is the mask's
    if corners is not None and len(rings) == len(areas):
        box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
    label = shapes[0].get("label")
    return Annotation(where, None if label is None else str(label), place, box, outline, clicks)


def _ring(shape: dict[str, Any]) -> list[tuple[float, float]]:
    at = [(float(x), float(y)) for x, y in shape["points"]]
    if _kind(shape) == "circle":
        (cx, cy), (px, py) = at[:2]
        radius = math.hypot(px - cx, py - cy)
        corners = min(max(16, math.ceil(2 * radius)), _MOST_CORNERS)
        angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
        return [(cx + radius * math.cos(angle), cy + radius * math.sin(angle)) for angle in angles.tolist()]
    if _kind(shape) == "rectangle" and len(at) == 2:
        (x1, y1), (x2, y2) = at
        return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return at


def _painted(where: str, shape: dict[str, Any], image: Image) -> Masks:
    """A shape of type "mask": a PNG in base64 whose top left pixel is at the first point."""
    try:
        data = base64.b64decode(shape.get("mask") or "", validate=True)
        crop = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    except (binascii.Error, TypeError, ValueError, cv2.error):
        crop = None
    if crop is None:
        raise InputError(f"{where}: mask: expected a PNG in base64; got {shape.get('mask')!r:.40}")
    x, y = (int(value) for value in shape["points"][0])
    left, top = max(-x, 0), max(-y, 0)
    inside = crop[top : max(image.height - y, 0), left : max(image.width - x, 0)] > 0
    return Masks.from_crops([inside], [(max(x, 0), max(y, 0))], image.width, image.height)


drawn = partial(LabelmeSource, wanted="drawn")
boxes = partial(LabelmeSource, wanted="boxes")
points = partial(LabelmeSource, wanted="points")
masks = partial(LabelmeSource, wanted="masks")

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
