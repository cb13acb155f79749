"""A diffusion pipeline as a painter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from samovar.errors import Cancelled, DeviceError, InputError, SamovarError
from samovar_adapters.diffusers.signature import Signature
from samovar_adapters.inpaint.painter import Painted, Picture
from samovar_adapters.inpaint.window import resized

if TYPE_CHECKING:
    from samovar.image import Image

__all__ = ["DiffusersPainter"]

Progress = Callable[[int, int], None]


class DiffusersPainter:
    """Repaints with any diffusers pipeline that takes `image` and `mask_image`; white is repainted.

    Args:
        pipeline: the pipeline. It is called by one thread at a time, as its scheduler has state.
        prompt: what to paint, if the pipeline takes prompts: one for all images, or one for each.
        seed: of the first image of the batch; the others count on from it, so that a batch paints what each image
            would get alone with its own seed. None leaves it to chance.
        size: the side of the square whose area the pipeline works at; its own if not given.
        batch: how many windows it paints at once, where it can.
        progress: called with the step that was just done, and how many there are, for every call of the pipeline.
        cancel: set it to stop after the step at hand; then Cancelled is raised.
        control: for pipelines with a `control_image`: pictures of the images' own sizes, one an image. Without it they
            get the image with −1 where it is repainted, as inpainting ControlNets were trained.
        passed: everything else goes to the pipeline as it is: negative_prompt, strength, num_inference_steps …

    Raises:
        InputError: no inpainting pipeline, or arguments that it does not take or lacks.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        prompt: str | Sequence[str] | None = None,
        seed: int | None = None,
        size: int | None = None,
        batch: int = 1,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        control: Sequence[Image] | None = None,
        passed: Mapping[str, Any] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._signature = Signature.of(pipeline)
        self._prompt, self._seed, self._progress, self._cancel = prompt, seed, progress, cancel
        self._control = control
        self._passed = dict(passed or {})
        self._lock = threading.Lock()
        if size is not None and size < self._signature.multiple:
            raise InputError(f"size must be at least {self._signature.multiple} pixels; got {size}; leave it out")
        self.native = size or self._signature.native
        self.multiple = self._signature.multiple
        self.batch = max(1, batch) if self._can_batch() else 1
        self._signature.check({"image", "mask_image", *self._passed, *self._own()})

    def paint(self, pictures: Sequence[Picture]) -> list[Painted]:
        """Every picture repainted, or SamovarError for one that the pipeline's safety checker refused.

        Raises:
            DeviceError: the device is out of memory.
            InputError: the pipeline does not accept what was passed on to it.
            Cancelled: on request.
        """
        height, width = pictures[0].mask.shape
        arguments = self._own(pictures) | {
            "image": _one_or_all([Pillow.fromarray(picture.pixels) for picture in pictures]),
            "mask_image": _one_or_all([_white(picture.mask) for picture in pictures]),
        }
        for name, value in self._passed.items():
            arguments[name] = [value] * len(pictures) if isinstance(value, str) and len(pictures) > 1 else value
        arguments |= {name: side for name, side in (("height", height), ("width", width)) if self._takes(name)}
        with self._lock:
            output = self._call(arguments)
        refused = getattr(output, "nsfw_content_detected", None) or [False] * len(pictures)
        return [
            _refusal(self._signature.name, picture) if bad else resized(np.asarray(image.convert("RGB")), width, height)
            for picture, image, bad in zip(pictures, output.images, refused)
        ]

    def _call(self, arguments: dict[str, Any]) -> Any:
        import torch

        try:
            return self._pipeline(**arguments)
        except ValueError as error:
            if isinstance(error, SamovarError):
                raise
            raise InputError(f"{self._signature.name} refused its arguments: {' '.join(str(error).split())}") from error
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            images = arguments["image"] if isinstance(arguments["image"], list) else [arguments["image"]]
            what = f"{len(images)} picture{'s'[: len(images) > 1]} of {images[0].width}×{images[0].height} pixels"
            raise DeviceError(
                f"{self._signature.name} ran out of memory on {_device(self._pipeline)} with {what}; "
                "pass a smaller size or batch, or off-load its parts"
            ) from error

    def _own(self, pictures: Sequence[Picture] = ()) -> dict[str, Any]:
        """The arguments that the painter itself gives for these pictures, as far as the pipeline takes them."""
        own: dict[str, Any] = {}
        if self._takes("prompt") and not {"prompt", "prompt_embeds"} & set(self._passed):
            own["prompt"] = _one_or_all([self._prompt_of(picture.image) for picture in pictures])
        if self._takes("generator") and "generator" not in self._passed and self._seed is not None:
            own["generator"] = _one_or_all([_generator(self._seed, picture) for picture in pictures])
        if self._takes("control_image") and "control_image" not in self._passed:
            own["control_image"] = self._controls(pictures) if pictures else None
        if self._takes("callback_on_step_end") and "callback_on_step_end" not in self._passed:
            own["callback_on_step_end"] = self._after_step
        if self._takes("output_type"):
            own["output_type"] = "pil"
        return own

    def _takes(self, name: str) -> bool:
        return name in self._signature.parameters

    def _can_batch(self) -> bool:
        """Pipelines without prompts (Kandinsky's decoders) mix up a batch's images; tensors belong to one image."""
        plain = (str, int, float, bool, dict, type(None))
        return self._takes("prompt") and all(isinstance(value, plain) for value in self._passed.values())

    def _prompt_of(self, image: int) -> str:
        if self._prompt is None or isinstance(self._prompt, str):
            return self._prompt or ""
        return self._prompt[image]

    def _after_step(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled(f"stopped on request, after step {step + 1}")
        if self._progress is not None:
            self._progress(step + 1, pipeline.num_timesteps)
        return tensors

    def _controls(self, pictures: Sequence[Picture]) -> Any:
        import torch

        if self._control is None:
            conditions = []
            for picture in pictures:
                condition = picture.pixels.astype(np.float32) / 255
                condition[picture.mask] = -1
                conditions.append(torch.from_numpy(condition.transpose(2, 0, 1).copy()))
            return torch.stack(conditions)
        windows = []
        for picture in pictures:
            shown = self._control[picture.image].crop(*picture.box).pixels
            windows.append(Pillow.fromarray(shown).resize(picture.mask.shape[::-1], Pillow.Resampling.NEAREST))
        return _one_or_all(windows)


def _generator(seed: int, picture: Picture) -> Any:
    """Random numbers of one window: the same alone and in a batch, on every device, and others for the next mask."""
    import torch

    return torch.Generator("cpu").manual_seed(seed + picture.image + (picture.index << 32))


def _refusal(name: str, picture: Picture) -> SamovarError:
    return SamovarError(
        f"the safety checker of {name} refused what it painted for mask {picture.index} of image {picture.image}; "
        "nothing was pasted; try another seed or prompt"
    )


def _white(mask: NDArray[np.bool_]) -> Pillow.Image:
    return Pillow.fromarray(mask.astype(np.uint8) * 255)


def _one_or_all(values: list[Any]) -> Any:
    """Some pipelines take lists for batches only."""
    return values[0] if len(values) == 1 else values


def _device(pipeline: Any) -> str:
    return str(getattr(pipeline, "_execution_device", None) or getattr(pipeline, "device", "its device"))
