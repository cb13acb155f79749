"""`repaint`: windows around masks, filled at the inpainter's own size and blended back.

`MaskMargins` says how masks become the regions that are repainted, `open_inpainter` makes what fills them by its name.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import Cancelled, InputError, SamovarError
from samovar.inpainting import Inpainted, Inpainter, MaskedImage
from samovar.masks import Masks
from samovar.plugins import find_inpainter, resolve, split_argument

__all__ = [
    "Box",
    "MaskMargins",
    "Region",
    "open_inpainter",
    "repaint",
    "repaint_batch",
    "resized",
    "window_around",
    "working_size",
]

Box = tuple[int, int, int, int]
"""x1 y1 x2 y2 in whole pixels, right and bottom exclusive."""

_LEAST_PADDING = 32
_LONGEST_ASPECT = 2.0


def open_inpainter(name: str = "patches", **options: Any) -> Inpainter:
    """What fills holes, by the name that a plugin gives it: patches, telea, navier-stokes, diffusers=PATH …

    Args:
        name: NAME or NAME=ARGUMENT; `samovar.plugins.list_inpainters()` has them all.
        options: what it is told, such as `prompt` and `seed` for diffusers; see `InpainterSpec.options`.

    Raises:
        UnknownNameError: no inpainter of that name.
        InputError: an option that it does not take.
        MissingExtraError: what it runs on is not installed.
    """
    plain, argument = split_argument(name)
    spec = find_inpainter(plain)
    if argument is not None and spec.argument is None:
        raise InputError(f"the inpainter {spec.name} takes no argument; got {name!r}; leave ={argument} out")
    unknown = sorted(set(options) - set(spec.options))
    if unknown:
        takes = ", ".join(spec.options) or "no options"
        raise InputError(f"the inpainter {spec.name} takes no {', '.join(unknown)}; it takes {takes}")
    return resolve(spec)(argument, **options)


@dataclass(frozen=True)
class MaskMargins:
    """How masks become the regions that are repainted.

    Attributes:
        dilate: pixels that every mask grows by.
        feather: pixels over which the new pixels fade into the old ones, beyond `dilate`.
        padding: pixels around a region that the inpainter also sees; None for half the region's longer side.
        each: repaint mask by mask, each pass seeing the one before, instead of their union at once.
        whole: show the inpainter the whole image instead of a window.

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


def repaint(
    pixels: NDArray[np.uint8], masks: Masks, inpainter: Inpainter, margins: MaskMargins | None = None
) -> NDArray[np.uint8]:
    """`pixels` (H×W×3, uint8, RGB) with what `masks` mark painted anew, as a new array.

    A pixel farther than `dilate + feather` from every mask keeps its value exactly.

    Raises:
        MaskError: an empty mask, or masks of another size.
        SamovarError: whatever the inpainter raises.
    """
    (result,) = repaint_batch([pixels], [masks], inpainter, margins or MaskMargins())
    if isinstance(result, SamovarError):
        raise result
    return result


def repaint_batch(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[Masks],
    inpainter: Inpainter,
    margins: MaskMargins,
    *,
    cancel: threading.Event | None = None,
) -> list[Inpainted]:
    """As `repaint` for many images; windows of one size are painted together, up to the inpainter's batch.

    An image with a window that the inpainter refuses gives its error, and the rest go on.

    Args:
        cancel: set it to stop before the next window; then Cancelled is raised.
    """
    if len(images) != len(masks):
        raise InputError(f"expected masks for every image; got {len(masks)} for {len(images)} images")
    pixels = [image.copy() for image in images]
    results: list[Inpainted] = [*pixels]  # the same arrays, painted in place, until an error takes one's place
    rounds = [list(part) if margins.each else [part.union()] if len(part) else [] for part in masks]
    for index in range(max(map(len, rounds), default=0)):
        jobs = [
            _Job.plan(image, index, part[index], inpainter, margins)
            for image, part in enumerate(rounds)
            if index < len(part) and not isinstance(results[image], SamovarError)
        ]
        for group in _batches(jobs, inpainter.batch):
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped on request, between two windows")
            for job, answer in zip(group, inpainter.paint([job.seen(pixels[job.image]) for job in group])):
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
    def plan(cls, image: int, index: int, mask: Masks, inpainter: Inpainter, margins: MaskMargins) -> _Job:
        region = Region.around(mask, margins.dilate, margins.feather)
        whole = 0, 0, mask.width, mask.height
        window = whole if margins.whole else window_around(region.box, mask.width, mask.height, margins.padding)
        size = working_size(window[2] - window[0], window[3] - window[1], inpainter.native, inpainter.multiple)
        return cls(image, index, region, window, size)

    def seen(self, pixels: NDArray[np.uint8]) -> MaskedImage:
        x1, y1, x2, y2 = self.window
        marked = (self.region.inside(self.window) > 0).astype(np.float32)
        # Whatever will be blended has to be painted, so a pixel that is marked at all is marked at the working size.
        shrunk = cv2.resize(marked, self.size, interpolation=cv2.INTER_AREA) > 0
        return MaskedImage(resized(pixels[y1:y2, x1:x2], *self.size), shrunk, self.image, self.index, self.window)

    def paste(self, pixels: NDArray[np.uint8], painted: NDArray[np.uint8]) -> None:
        x1, y1, x2, y2 = self.window
        self.region.paste(pixels, resized(painted, x2 - x1, y2 - y1), self.window)


def _batches(jobs: list[_Job], most: int) -> Iterator[list[_Job]]:
    for _, same in groupby(sorted(jobs, key=lambda job: job.size), key=lambda job: job.size):
        group = list(same)
        yield from (group[start : start + most] for start in range(0, len(group), most))


@dataclass(frozen=True, eq=False)
class Region:
    """A soft mask inside a box of the image; outside the box it is 0.

    Attributes:
        box: where it lies, clipped to the image.
        alpha: h×w float32 in [0, 1] over the box: how much of a pixel is replaced.
    """

    box: Box
    alpha: NDArray[np.float32]

    @classmethod
    def around(cls, mask: Masks, dilate: float, feather: float) -> Region:
        """One non-empty mask, grown by `dilate` pixels and then fading out over `feather` more.

        Distances are Euclidean. A pixel farther than `dilate + feather` from the mask has alpha 0.
        """
        (crop, x, y), *_ = mask.crops()
        reach = math.ceil(dilate + feather)
        height, width = crop.shape
        box = (
            max(0, x - reach),
            max(0, y - reach),
            min(mask.width, x + width + reach),
            min(mask.height, y + height + reach),
        )
        inside = np.zeros((box[3] - box[1], box[2] - box[0]), np.bool_)
        inside[y - box[1] : y - box[1] + height, x - box[0] : x - box[0] + width] = crop
        if reach == 0:
            return cls(box, inside.astype(np.float32))
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        alpha = np.clip((dilate + feather + 1 - distance) / (feather + 1), 0, 1)
        alpha[distance > dilate + feather] = 0
        return cls(box, alpha.astype(np.float32))

    @classmethod
    def within(cls, mask: Masks, feather: float) -> Region:
        """One non-empty mask that fades out over its outermost `feather` pixels, but not where the image ends.

        Nothing beyond the mask is taken along, so that a cut-out has no halo of what was behind it.

        Raises:
            InputError: a feather that is no number of pixels.
        """
        if not 0 <= feather < 1 << 15:
            raise InputError(f"feather must be a number of pixels from 0 to 32767; got {feather!r}; 0 is for none")
        (crop, x, y), *_ = mask.crops()
        height, width = crop.shape
        # A rim of background where the image goes on beyond the box; none where the image itself ends.
        rim = (int(y > 0), int(y + height < mask.height)), (int(x > 0), int(x + width < mask.width))
        padded = np.pad(crop, rim).astype(np.uint8)
        if padded.all():  # the whole image
            return cls((x, y, x + width, y + height), crop.astype(np.float32))
        distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        distance = distance[rim[0][0] : rim[0][0] + height, rim[1][0] : rim[1][0] + width]
        return cls((x, y, x + width, y + height), np.clip(distance / (feather + 1), 0, 1).astype(np.float32))

    def inside(self, box: Box) -> NDArray[np.float32]:
        """Its alpha over `box`, which contains its own box: h×w float32."""
        alpha = np.zeros((box[3] - box[1], box[2] - box[0]), np.float32)
        x1, y1, x2, y2 = self.box
        alpha[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]] = self.alpha
        return alpha

    def paste(self, pixels: NDArray[np.uint8], painted: NDArray[np.uint8], box: Box) -> None:
        """Blend `painted`, which shows `box`, into `pixels` (H×W×3), in place; where alpha is 0 nothing is written."""
        x1, y1, x2, y2 = self.box
        old = pixels[y1:y2, x1:x2]
        new = painted[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]]
        touched = self.alpha > 0
        weight = self.alpha[touched][:, None]
        mixed = weight * new[touched] + (1 - weight) * old[touched]
        old[touched] = np.rint(mixed).astype(np.uint8)


def window_around(box: Box, width: int, height: int, padding: int | None) -> Box:
    """`box` with `padding` pixels of its surroundings, clipped to the `width`×`height` image.

    Without a `padding` half the box's longer side, and at least 32 pixels. The shorter side then grows, as far as the
    image allows, to at least half of the longer one, as models see little in a strip.
    """
    x1, y1, x2, y2 = box
    if padding is None:
        padding = max(_LEAST_PADDING, math.ceil(max(x2 - x1, y2 - y1) / 2))
    x1, x2 = max(0, x1 - padding), min(width, x2 + padding)
    y1, y2 = max(0, y1 - padding), min(height, y2 + padding)
    shortest = math.ceil(max(x2 - x1, y2 - y1) / _LONGEST_ASPECT)
    x1, x2 = _at_least(x1, x2, shortest, width)
    y1, y2 = _at_least(y1, y2, shortest, height)
    return x1, y1, x2, y2


def _at_least(start: int, stop: int, length: int, limit: int) -> tuple[int, int]:
    """The interval grown around its middle to `length`, inside [0, limit)."""
    length = min(max(length, stop - start), limit)
    start = min(max(0, (start + stop - length) // 2), limit - length)
    return start, start + length


def working_size(width: int, height: int, native: int | None, multiple: int) -> tuple[int, int]:
    """Width and height at which an inpainter sees a `width`×`height` window.

    With a native side the window is scaled to the area of that square; both sides are rounded to the `multiple`.
    """
    scale = 1.0 if native is None else native / math.sqrt(width * height)
    return tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))  # type: ignore[return-value]


def resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Pixels (H×W or H×W×3, uint8) at another size, by area when they shrink and by Lanczos when they grow."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    changed = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)
    return np.asarray(changed, np.uint8)
