"""`inpaint`: masks from anywhere into any diffusers inpainting pipeline, and room on a device for both."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samovar.deprecation import renamed_keywords
from samovar.errors import InputError, SamovarError
from samovar.image import Image
from samovar.sizes import parse_bytes
from samovar_adapters.diffusers.pipeline import DiffusersInpainter
from samovar_adapters.inpaint import MaskMargins, as_masks, repaint_batch

if TYPE_CHECKING:
    from samovar.image import ImageLike
    from samovar.inpainting import Inpainted
    from samovar.runtime import Runtime
    from samovar_adapters.inpaint import MasksLike

__all__ = ["SharedDevice", "inpaint", "inpaint_batch"]


@renamed_keywords(edges="margins")
def inpaint(
    pipeline: Any,
    image: ImageLike,
    masks: MasksLike,
    prompt: str | None = None,
    *,
    margins: MaskMargins | None = None,
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
        margins: how masks are grown, feathered and framed (`MaskMargins`); by default exactly the masks, all at once.
        seed: makes the result repeatable.
        size: the side of the square whose area the pipeline works at; its own if not given.
        progress: called with the step that was just done, and how many there are.
        cancel: set it from another thread to stop after the step at hand; then Cancelled is raised.
        control: a conditioning image of the image's size, for ControlNet pipelines.
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
        margins=margins,
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


@renamed_keywords(edges="margins")
def inpaint_batch(
    pipeline: Any,
    images: Sequence[ImageLike],
    masks: Sequence[MasksLike],
    prompt: str | Sequence[str] | None = None,
    *,
    margins: MaskMargins | None = None,
    seed: int | None = None,
    size: int | None = None,
    batch: int = 4,
    progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
    controls: Sequence[ImageLike] | None = None,
    **passed: Any,
) -> list[Inpainted]:
    """As `inpaint` for many images: H×W×3 uint8 each, or the SamovarError of one whose result was refused.

    Args:
        prompt: one for all images, or one for each.
        batch: how many windows of one size go through the pipeline together.

    Image i is painted with `seed + i`. Raises as `inpaint`, and InputError for sequences of different lengths.
    """
    opened = [Image(image) for image in images]
    for name, given in (("masks", masks), ("prompt", prompt), ("controls", controls)):
        if given is not None and not isinstance(given, str) and len(given) != len(opened):
            raise InputError(f"expected one of {name} for each of {len(opened)} images; got {len(given)}")
    found = [as_masks(part, image.width, image.height) for image, part in zip(opened, masks)]
    inpainter = DiffusersInpainter(
        pipeline,
        prompt=prompt,
        seed=seed,
        size=size,
        batch=batch,
        progress=progress,
        cancel=cancel,
        control=None if controls is None else _controls(opened, controls),
        passed=passed,
    )
    return repaint_batch([image.pixels for image in opened], found, inpainter, margins or MaskMargins(), cancel=cancel)


def _controls(images: Sequence[Image], controls: Sequence[ImageLike]) -> list[Image]:
    shown = [Image(control) for control in controls]
    for image, control in zip(images, shown):
        if (image.width, image.height) != (control.width, control.height):
            raise InputError(
                f"expected a control image of the image's {image.width}×{image.height} pixels; "
                f"got {control.width}×{control.height}; resize it"
            )
    return shown


class SharedDevice:
    """A segmenter and a diffusion pipeline that share one device's memory. Any number of threads may use it.

    While a pipeline runs and less than `budget` is free, the segmenter is dropped; it is loaded again when it is next
    asked for. Its embeddings stay in the cache, so an image that was segmented before is not encoded again. Ask for
    `runtime()` every time: one that is kept elsewhere keeps its memory, too.

    Args:
        load: makes the runtime, as `lambda: samovar.load(…)`; give it a cache that outlives it.
        device: "cuda", "cuda:1"; the memory of anything else is not watched.
        budget: bytes that a pipeline's run needs free ("12GB" works too).
        free: bytes that are free on the device; asks torch if not given.
    """

    def __init__(
        self,
        load: Callable[[], Runtime],
        *,
        device: str = "cuda",
        budget: int | str = "8GB",
        free: Callable[[], int] | None = None,
    ) -> None:
        self.budget = budget if isinstance(budget, int) else parse_bytes(budget)
        if self.budget < 0:
            raise InputError(f"budget must be a number of bytes, 0 or more; got {budget!r}")
        self._load, self._device = load, device
        self._free = free or (lambda: _free_bytes(device))
        self._runtime: Runtime | None = None
        self._lock = threading.RLock()
        self.dropped = 0
        """How often the segmenter had to leave."""

    @property
    def segmenter_loaded(self) -> bool:
        """Whether the segmenter is there now."""
        return self._runtime is not None

    def runtime(self) -> Runtime:
        """The segmenter's runtime, loaded if it is not there. Waits while a pipeline runs that it had to leave for."""
        with self._lock:
            if self._runtime is None:
                self._runtime = self._load()
            return self._runtime

    @contextmanager
    def diffusion(self) -> Iterator[None]:
        """Run a pipeline inside: `with shared.diffusion(): inpaint(…)`."""
        with self._lock:
            if self._runtime is not None and self._free() < self.budget:
                self._runtime.cache.close()
                self._runtime = None
                self.dropped += 1
                _release(self._device)
            yield


def _free_bytes(device: str) -> int:
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return 1 << 62
    free: int = torch.cuda.mem_get_info(device)[0]
    return free


def _release(device: str) -> None:
    """Have torch hand freed memory back, so that the pipeline's allocations find it."""
    import torch

    gc.collect()
    if device.startswith("cuda") and torch.cuda.is_available():
        with torch.cuda.device(torch.device(device)):
            torch.cuda.empty_cache()
