"""What simplified polygons cost, beside what most converters do: `cv2.findContours` and `cv2.approxPolyDP`.

`python -m benchmarks.polygons` prints, for several tolerances, the points kept (of those of the exact outline along the
pixel edges) and the loss, 1 − IoU of a mask with what its polygons draw, over the masks that people drew on photos.
OpenCV's contours run through the centres of the outermost pixels; they are drawn back by `cv2.drawContours`, holes
included, which paints the line too and so is the kindest to them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol import Mask, data_root, pictures
from samovar.masks import Masks, Polygon

TOLERANCES = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
LARGE = 10_000  # pixels


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two photos of each subset, to see that it runs")
    options = parser.parse_args()
    photos = [photo.masks for photo in pictures(data_root(), 2 if options.quick else None)]
    given = [Masks.from_array(masks) for masks in photos]
    exact = sum(points_of(masks.to_polygons()) for masks in given)
    large = np.concatenate([masks.areas for masks in given]) >= LARGE
    print(
        f"{len(large)} masks, {large.sum()} of them of {LARGE} pixels and more; {exact} points along their pixel edges"
    )
    print(f"{'tolerance':>9}  {'by':<8} {'points':>7} {'mean loss':>9} {'95 % below':>10} {'large ones':>10}")
    for tolerance in TOLERANCES:
        kept = sum(points_of(masks.to_polygons(tolerance)) for masks in given)
        report(
            tolerance,
            "samovar",
            kept / exact,
            np.concatenate([masks.polygon_loss(tolerance) for masks in given]),
            large,
        )
        theirs = [by_opencv(mask, tolerance) for masks in photos for mask in masks]
        report(tolerance, "opencv", sum(n for n, _ in theirs) / exact, np.array([loss for _, loss in theirs]), large)


def report(tolerance: float, by: str, kept: float, losses: NDArray[np.floating], large: NDArray[np.bool_]) -> None:
    worst, of_large = np.percentile(losses, 95), losses[large].mean() if large.any() else np.nan
    print(f"{tolerance:>9}  {by:<8} {kept:>7.0%} {losses.mean():>9.4f} {worst:>10.4f} {of_large:>10.4f}")


def points_of(polygons: Iterable[Iterable[Polygon]]) -> int:
    return sum(len(ring) for regions in polygons for polygon in regions for ring in polygon.rings)


def by_opencv(mask: Mask, tolerance: float) -> tuple[int, float]:
    """How many points OpenCV keeps of one mask, and what is lost when it draws them back."""
    contours, hierarchy = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    simple = [cv2.approxPolyDP(contour, tolerance, True) if tolerance else contour for contour in contours]
    drawn = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(drawn, simple, -1, 1, cv2.FILLED, hierarchy=hierarchy)
    whole = int(np.count_nonzero(mask | drawn.view(np.bool_)))
    return sum(map(len, simple)), 1 - int(np.count_nonzero(mask & drawn.view(np.bool_))) / max(whole, 1)


if __name__ == "__main__":
    main()
