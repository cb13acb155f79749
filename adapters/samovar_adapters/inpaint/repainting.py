"""`repaint`: windows around masks, painted at the painter's own size and pasted back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import Cancelled, InputError, SamovarError
from samovar.masks import Masks
from samovar_adapters.inpaint.painter import Painted, Painter, Picture
from samovar_adapters.inpaint.region import Box, Region
from samovar_adapters.inpaint.window import resized, window_around, working_size

__all__ = ["Edges", "repaint", "repaint_batch"]


@dataclass(frozen=True)
class Edges:
    """How masks become the regions that are repainted.

    Attributes:
        dilate: pixels that every mask grows by.
        feather: pixels over which the new picture fades into the old one, beyond `dilate`.
        padding: pixels around a region that the painter also sees; None for half the region's longer side.
        each: repaint mask by mask, each pass seeing the one before, instead of their union at once.
        whole: show the painter the whole image instead of a window.

    Raises:
        InputError: a negative number of pixels.
    """

    dilate: float = 0
    feather: float = 0
    padding: int | None = None
    each: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        for name in ("dilate", "feather", "padding"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1 << 15:
                raise InputError(
                    f"{name} must be a number of pixels from 0 to 32767; got {value!r}; leave it out for none"
                )


def repaint(pixels: NDArray[np.uint8], masks: Masks, painter: Painter, edges: Edges | None = None) -> NDArray[np.uint8]:
    """`pixels` (H×W×3, uint8, RGB) with what `masks` mark painted anew, as a new array.

    A pixel farther than `dilate + feather` from every mask keeps its value exactly.

    Raises:
        MaskError: an empty mask, or masks of another size.
        SamovarError: whatever the painter raises.
    """
    (result,) = repaint_batch([pixels], [masks], painter, edges or Edges())
    if isinstance(result, SamovarError):
        raise result
    return result


def repaint_batch(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[Masks],
    painter: Painter,
    edges: Edges,
    *,
    cancel: threading.Event | None = None,
) -> list[Painted]:
    """As `repaint` for many images; windows of one size are painted together, up to the painter's batch.

    An image with a window that the painter refuses gives its error, and the rest go on.

    Args:
        cancel: set it to stop before the next window; then Cancelled is raised.
    """
    if len(images) != len(masks):
        raise InputError(f"expected masks for every image; got {len(masks)} for {len(images)} images")
    pixels = [image.copy() for image in images]
    results: list[Painted] = [*pixels]  # the same arrays, painted in place, until an error takes one's place
    rounds = [list(part) if edges.each else [part.union()] if len(part) else [] for part in masks]
    for index in range(max(map(len, rounds), default=0)):
        jobs = [
            _Job.plan(image, index, part[index], painter, edges)
            for image, part in enumerate(rounds)
            if index < len(part) and not isinstance(results[image], SamovarError)
        ]
        for group in _batches(jobs, painter.batch):
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped on request, between two windows")
            for job, answer in zip(group, painter.paint([job.picture(pixels[job.image]) for job in group])):
                if isinstance(answer, SamovarError):
                    results[job.image] = answer
                else:
                    job.paste(pixels[job.image], answer)
    return results


@dataclass(frozen=True, eq=False)
class _Job:
    """One window of one image to paint."""

    image: int
    index: int
    region: Region
    window: Box
    size: tuple[int, int]

    @classmethod
    def plan(cls, image: int, index: int, mask: Masks, painter: Painter, edges: Edges) -> _Job:
        region = Region.around(mask, edges.dilate, edges.feather)
        whole = 0, 0, mask.width, mask.height
        window = whole if edges.whole else window_around(region.box, mask.width, mask.height, edges.padding)
        size = working_size(window[2] - window[0], window[3] - window[1], painter.native, painter.multiple)
        return cls(image, index, region, window, size)

    def picture(self, pixels: NDArray[np.uint8]) -> Picture:
        x1, y1, x2, y2 = self.window
        marked = (self.region.inside(self.window) > 0).astype(np.float32)
        # Whatever will be blended has to be painted, so a pixel that is marked at all is marked at the working size.
        shrunk = cv2.resize(marked, self.size, interpolation=cv2.INTER_AREA) > 0
        return Picture(resized(pixels[y1:y2, x1:x2], *self.size), shrunk, self.image, self.index, self.window)

    def paste(self, pixels: NDArray[np.uint8], painted: NDArray[np.uint8]) -> None:
        x1, y1, x2, y2 = self.window
        self.region.paste(pixels, resized(painted, x2 - x1, y2 - y1), self.window)


def _batches(jobs: list[_Job], most: int) -> Iterator[list[_Job]]:
    for _, same in groupby(sorted(jobs, key=lambda job: job.size), key=lambda job: job.size):
        group = list(same)
        yield from (group[start : start + most] for start in range(0, len(group), most))
