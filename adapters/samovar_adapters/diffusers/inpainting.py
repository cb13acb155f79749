"""`inpaint`: masks from anywhere into any diffusers inpainting pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, SamovarError
from samovar.image import Image
from samovar_adapters.diffusers.painter import DiffusersPainter
from samovar_adapters.inpaint.masks import MasksLike, as_masks
from samovar_adapters.inpaint.repainting import Edges, repaint_batch

if TYPE_CHECKING:
    from samovar.image import ImageLike
    from samovar_adapters.inpaint.painter import Painted

__all__ = ["inpaint", "inpaint_batch"]


def inpaint(
    pipeline: Any,
    image: ImageLike,
    masks: MasksLike,
    prompt: str | None = None,
    *,
    edges: Edges | None = None,
    seed: int | None = None,
    size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
    control: ImageLike | None = None,
    **passed: Any,
) -> NDArray[np.uint8]:
    """The image with what `masks` mark repainted by a diffusion pipeline: H×W×3 uint8 RGB, of the image's size.

    The pipeline sees a window around the mask, scaled to the size that it was trained on, so that small objects in
    large photos stay sharp; what it paints is scaled back and blended in. A pixel farther than `dilate + feather` from
    every mask keeps its value exactly. No masks at all give a plain copy.

    Args:
        pipeline: any diffusers pipeline that takes `image` and `mask_image`.
        image: anything `samovar.Image` takes.
        masks: whatever `as_masks` takes, of the image's size; white, True and 1 are repainted.
        prompt: what to paint, if the pipeline takes prompts.
        edges: how masks are grown, feathered and framed (`Edges`); by default exactly the masks, all at once.
        seed: makes the result repeatable.
        size: the side of the square whose area the pipeline works at; its own if not given.
        progress: called with the step that was just done, and how many there are.
        cancel: set it from another thread to stop after the step at hand; then Cancelled is raised.
        control: a conditioning picture of the image's size, for ControlNet pipelines.
        passed: goes to the pipeline as it is: negative_prompt, strength, num_inference_steps, guidance_scale …

    Raises:
        ImageError, MaskError: an image or masks that cannot be used.
        InputError: a pipeline without a mask input, or arguments that it does not take or lacks.
        DeviceError: the device is out of memory.
        SamovarError: the pipeline's safety checker refused the result.
        Cancelled: on request.
    """
    (result,) = inpaint_batch(
        pipeline,
        [image],
        [masks],
        prompt,
        edges=edges,
        seed=seed,
        size=size,
        progress=progress,
        cancel=cancel,
        controls=None if control is None else [control],
        **passed,
    )
    if isinstance(result, SamovarError):
        raise result
    return result


def inpaint_batch(
    pipeline: Any,
    images: Sequence[ImageLike],
    masks: Sequence[MasksLike],
    prompt: str | Sequence[str] | None = None,
    *,
    edges: Edges | None = None,
    seed: int | None = None,
    size: int | None = None,
    batch: int = 4,
    progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
    controls: Sequence[ImageLike] | None = None,
    **passed: Any,
) -> list[Painted]:
    """As `inpaint` for many images: H×W×3 uint8 each, or the SamovarError of one whose result was refused.

    Args:
        prompt: one for all images, or one for each.
        batch: how many windows of one size go through the pipeline together.

    Image i is painted with `seed + i`. Raises as `inpaint`, and InputError for sequences of different lengths.
    """
    pictures = [Image(image) for image in images]
    for name, given in (("masks", masks), ("prompt", prompt), ("controls", controls)):
        if given is not None and not isinstance(given, str) and len(given) != len(pictures):
            raise InputError(f"expected one of {name} for each of {len(pictures)} images; got {len(given)}")
    found = [as_masks(part, picture.width, picture.height) for picture, part in zip(pictures, masks)]
    painter = DiffusersPainter(
        pipeline,
        prompt=prompt,
        seed=seed,
        size=size,
        batch=batch,
        progress=progress,
        cancel=cancel,
        control=None if controls is None else _controls(pictures, controls),
        passed=passed,
    )
    return repaint_batch([picture.pixels for picture in pictures], found, painter, edges or Edges(), cancel=cancel)


def _controls(pictures: Sequence[Image], controls: Sequence[ImageLike]) -> list[Image]:
    shown = [Image(control) for control in controls]
    for picture, control in zip(pictures, shown):
        if (picture.width, picture.height) != (control.width, control.height):
            raise InputError(
                f"expected a control picture of the image's {picture.width}×{picture.height} pixels; "
                f"got {control.width}×{control.height}; resize it"
            )
    return shown
