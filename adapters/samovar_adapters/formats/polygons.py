"""Polygons with holes, as plain JSON."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from samovar_adapters.formats.sink import ImageFileSink
from samovar_adapters.formats.text import compact, numbers, short

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks, Polygon

__all__ = ["PolygonsSink"]


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
