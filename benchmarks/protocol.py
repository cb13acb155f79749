"""The evaluation protocol for promptable segmenters: shared masks, simulated clicks, IoU.

Box: the tight box of the true mask. One point: the pixel deepest inside it. Next points: the deepest pixel of the
largest error of the last answer, with its sign. The figure is the mean, over masks, of the IoU of the best-scored
answer; the *oracle* is the best of up to three answers chosen by the truth, and is reported beside it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Click", "Mask", "Picture", "data_root", "deepest", "iou", "next_click", "pictures"]

Mask = NDArray[np.bool_]
Click = tuple[float, float, int]
"""x, y in pixels (centres at +0.5), and 1 for foreground or 0 for background."""


@dataclass(frozen=True)
class Picture:
    """One image with the masks of some of its objects.

    Attributes:
        name: file name.
        subset: where it is from.
        path: the file.
        masks: k×H×W bool.
        boxes: k×4 float32, tight, x1 y1 x2 y2.
    """

    name: str
    subset: str
    path: Path
    masks: Mask
    boxes: NDArray[np.float32]


def data_root() -> Path:
    """The folder of shared data: $SAMOVAR_DATA, or ../shared/data beside the repository.

    Raises:
        FileNotFoundError: there is none.
    """
    given = os.environ.get("SAMOVAR_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not (root / "masks" / "index.json").is_file():
        raise FileNotFoundError(
            f"no evaluation masks at {root}; set SAMOVAR_DATA to the folder that holds masks/index.json"
        )
    return root


def pictures(root: Path, limit: int | None = None) -> list[Picture]:
    """All pictures, subset by subset; with `limit`, that many of each subset, evenly spaced."""
    from pycocotools import mask as coco

    index = json.loads((root / "masks" / "index.json").read_text())
    records: dict[int, list[dict[str, object]]] = {}
    for record in index["masks"]:
        records.setdefault(record["image"], []).append(record)
    by_subset: dict[str, list[int]] = {}
    for image in sorted(records):
        by_subset.setdefault(index["images"][image]["subset"], []).append(image)
    out = []
    for subset, images in sorted(by_subset.items()):
        step = 1 if limit is None else max(len(images) // limit, 1)
        for image in images[::step][:limit]:
            path = root / "masks" / index["images"][image]["file"]
            rles = [{"size": r["rle"]["size"], "counts": r["rle"]["counts"].encode()} for r in records[image]]  # type: ignore[index]
            masks = np.stack([coco.decode(rle) > 0 for rle in rles])
            boxes = np.array([r["box"] for r in records[image]], np.float32)
            out.append(Picture(path.name, subset, path, masks, boxes))
    return out


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def deepest(mask: Mask) -> tuple[float, float, float]:
    """The pixel centre farthest from the mask's outline (the image's edge counts), and its distance."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    place = int(depth.argmax())
    return place % mask.shape[1] + 0.5, place // mask.shape[1] + 0.5, float(depth.flat[place])


def next_click(truth: Mask, guess: Mask) -> Click | None:
    """The middle of the largest error; None when there is none."""
    missed, extra = truth & ~guess, guess & ~truth
    x1, y1, depth1 = deepest(missed) if missed.any() else (0.0, 0.0, 0.0)
    x2, y2, depth2 = deepest(extra) if extra.any() else (0.0, 0.0, 0.0)
    if max(depth1, depth2) <= 0:
        return None
    return (x1, y1, 1) if depth1 >= depth2 else (x2, y2, 0)
