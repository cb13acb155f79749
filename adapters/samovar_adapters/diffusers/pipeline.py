"""A diffusion pipeline as an inpainter: loaded from a folder or the hub, called by what its own signature takes."""

from __future__ import annotations

import inspect
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from samovar.device import choose_device
from samovar.errors import Cancelled, DeviceError, InputError, MissingExtraError, SamovarError, WeightsError
from samovar.inpainting import Inpainted, MaskedImage
from samovar_adapters.inpaint import resized

if TYPE_CHECKING:
    from samovar.image import Image

__all__ = ["DiffusersInpainter", "Signature", "load_pipeline", "open_diffusers"]

Progress = Callable[[int, int], None]

_USUAL_SIDE = 512
_USUAL_FACTOR = 8


def open_diffusers(
    name: str | None,
    /,
    *,
    prompt: str | None = None,
    seed: int | None = None,
    size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    progress_bar: bool = False,
    **passed: Any,
) -> DiffusersInpainter:
    """The inpainter `diffusers=NAME`: the pipeline in a folder or of a hub id.

    Args:
        progress_bar: whether diffusers shows its own.
        passed: goes to the pipeline as it is: negative_prompt, strength, num_inference_steps, guidance_scale.

    Raises as `load_pipeline` and `DiffusersInpainter`.
    """
    if name is None:
        raise InputError("the inpainter diffusers needs a pipeline; give diffusers=PATH, a folder or a hub id")
    pipeline = load_pipeline(name, device=device, dtype=dtype)
    pipeline.set_progress_bar_config(disable=not progress_bar)
    return DiffusersInpainter(pipeline, prompt=prompt, seed=seed, size=size, passed=passed)


def load_pipeline(
    name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "auto", local_files_only: bool = False
) -> Any:
    """The diffusers pipeline in a folder or of a hub id, as one that inpaints.

    A text-to-image pipeline becomes the inpainting pipeline of its family, with the same weights, where there is one.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto" (as saved on a GPU, float32 on a CPU), "float32", "bfloat16" or "float16".

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: nothing there that diffusers can load.
        InputError: a pipeline that takes no mask.
    """
    try:
        diffusers: Any = import_module("diffusers")
        torch: Any = import_module("torch")
    except ImportError as error:
        raise MissingExtraError('diffusion needs diffusers; run: pip install "samovar[diffusers]"') from error
    chosen = choose_device(device, ("cpu", "cuda", "mps"), os.fspath(name))
    wanted = {} if dtype == "auto" and chosen != "cpu" else {"dtype": _dtype(torch, dtype)}
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            os.fspath(name), local_files_only=local_files_only, **wanted
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{os.fspath(name)!r}: expected a diffusers pipeline's folder or hub id; {reason}"
        ) from error
    return _inpainting(diffusers, pipeline).to(chosen)


def _inpainting(diffusers: Any, pipeline: Any) -> Any:
    try:
        Signature.of(pipeline)
    except InputError:
        try:
            return diffusers.AutoPipelineForInpainting.from_pipe(pipeline)
        except ValueError:
            pass
        raise
    return pipeline


def _dtype(torch: Any, dtype: str) -> Any:
    names = {"auto": "float32", "float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
    if dtype not in names:
        raise InputError(f"dtype must be one of {', '.join(names)}; got {dtype!r}")
    return getattr(torch, names[dtype])


class DiffusersInpainter:
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
        control: for pipelines with a `control_image`: control images of the images' own sizes, one an image. Without
            it they get the image with −1 where it is repainted, as inpainting ControlNets were trained.
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

    def paint(self, windows: Sequence[MaskedImage], /) -> list[Inpainted]:
        """Every window repainted, or SamovarError for one that the pipeline's safety checker refused.

        Raises:
            DeviceError: the device is out of memory.
            InputError: the pipeline does not accept what was passed on to it.
            Cancelled: on request.
        """
        if not windows:
            return []
        height, width = windows[0].mask.shape
        arguments = self._own(windows) | {
            "image": _one_or_all([Pillow.fromarray(window.pixels) for window in windows]),
            "mask_image": _one_or_all([_white(window.mask) for window in windows]),
        }
        for name, value in self._passed.items():
            arguments[name] = [value] * len(windows) if isinstance(value, str) and len(windows) > 1 else value
        arguments |= {name: side for name, side in (("height", height), ("width", width)) if self._takes(name)}
        with self._lock:
            output = self._call(arguments)
        refused = getattr(output, "nsfw_content_detected", None) or [False] * len(windows)
        return [
            _refusal(self._signature.name, window) if bad else resized(np.asarray(image.convert("RGB")), width, height)
            for window, image, bad in zip(windows, output.images, refused)
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
            what = f"{len(images)} image{'s'[: len(images) > 1]} of {images[0].width}×{images[0].height} pixels"
            raise DeviceError(
                f"{self._signature.name} ran out of memory on {_device(self._pipeline)} with {what}; "
                "pass a smaller size or batch, or off-load its parts"
            ) from error

    def _own(self, windows: Sequence[MaskedImage] = ()) -> dict[str, Any]:
        """The arguments that the inpainter itself gives for these windows, as far as the pipeline takes them."""
        own: dict[str, Any] = {}
        if self._takes("prompt") and not {"prompt", "prompt_embeds"} & set(self._passed):
            own["prompt"] = _one_or_all([self._prompt_of(window.image) for window in windows])
        if self._takes("generator") and "generator" not in self._passed and self._seed is not None:
            own["generator"] = _one_or_all([_generator(self._seed, window) for window in windows])
        if self._takes("control_image") and "control_image" not in self._passed:
            own["control_image"] = self._controls(windows) if windows else None
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

    def _controls(self, windows: Sequence[MaskedImage]) -> Any:
        import torch

        if self._control is None:
            conditions = []
            for window in windows:
                condition = window.pixels.astype(np.float32) / 255
                condition[window.mask] = -1
                conditions.append(torch.from_numpy(condition.transpose(2, 0, 1).copy()))
            return torch.stack(conditions)
        conditions = []
        for window in windows:
            shown = self._control[window.image].crop(*window.box).pixels
            conditions.append(Pillow.fromarray(shown).resize(window.mask.shape[::-1], Pillow.Resampling.NEAREST))
        return _one_or_all(conditions)


def _generator(seed: int, image: MaskedImage) -> Any:
    """Random numbers of one window: the same alone and in a batch, on every device, and others for the next mask."""
    import torch

    return torch.Generator("cpu").manual_seed(seed + image.image + (image.index << 32))


def _refusal(name: str, image: MaskedImage) -> SamovarError:
    return SamovarError(
        f"the safety checker of {name} refused what it painted for mask {image.index} of image {image.image}; "
        "nothing was pasted; try another seed or prompt"
    )


def _white(mask: NDArray[np.bool_]) -> Pillow.Image:
    return Pillow.fromarray(mask.astype(np.uint8) * 255)


def _one_or_all(values: list[Any]) -> Any:
    """Some pipelines take lists for batches only."""
    return values[0] if len(values) == 1 else values


def _device(pipeline: Any) -> str:
    return str(getattr(pipeline, "_execution_device", None) or getattr(pipeline, "device", "its device"))


@dataclass(frozen=True)
class Signature:
    """How to call one inpainting pipeline.

    Attributes:
        name: the pipeline's class, for messages.
        parameters: what its call takes, by name; True for those that must be given.
        native: the side of the square images that it was trained on, in pixels.
        multiple: sides must be multiples of it.
    """

    name: str
    parameters: dict[str, bool]
    native: int
    multiple: int

    @classmethod
    def of(cls, pipeline: Any) -> Signature:
        """Raises InputError for something that takes no image and mask to inpaint."""
        name = type(pipeline).__name__
        if not callable(pipeline):
            raise InputError(f"expected a diffusers pipeline; got {name}; load one with load_pipeline(…)")
        kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        given = inspect.signature(pipeline).parameters.values()
        parameters = {each.name: each.default is each.empty for each in given if each.kind in kinds}
        missing = [wanted for wanted in ("image", "mask_image") if wanted not in parameters]
        if missing:
            raise InputError(
                f"expected a pipeline that takes image and mask_image; {name} has no {' and no '.join(missing)}; "
                "use an inpainting pipeline, such as AutoPipelineForInpainting gives"
            )
        return cls(name, parameters, _native(pipeline), _multiple(pipeline))

    def check(self, given: set[str]) -> None:
        """Raises InputError if the call takes no such arguments, or if one that it needs is not among `given`."""
        unknown = sorted(given - set(self.parameters))
        if unknown:
            raise InputError(f"{self.name} takes no {', '.join(unknown)}; it takes {', '.join(self.parameters)}")
        lacking = [name for name, needed in self.parameters.items() if needed and name not in given]
        if lacking:
            raise InputError(f"{self.name} also needs {', '.join(lacking)}; pass them to inpaint(…) by name")


def _native(pipeline: Any) -> int:
    side = getattr(pipeline, "default_sample_size", None)
    for name in ("unet", "transformer"):
        side = side or _config(getattr(pipeline, name, None), "sample_size")
    if isinstance(side, (list, tuple)):
        side = max(side)
    return side * _factor(pipeline) if side else _USUAL_SIDE


def _multiple(pipeline: Any) -> int:
    factor = _factor(pipeline)
    # The factors that pipelines check sides against: of the VAE, times the transformer's patches, or squared (movq).
    patches = _config(getattr(pipeline, "transformer", None), "patch_size") or 1
    squared = getattr(pipeline, "movq_scale_factor", 1)
    processor = _config(getattr(pipeline, "image_processor", None), "vae_scale_factor") or 1
    return math.lcm(factor * squared, factor * patches, processor)


def _factor(pipeline: Any) -> int:
    for name in ("vae_scale_factor", "movq_scale_factor"):
        factor = getattr(pipeline, name, None)
        if factor:
            return int(factor)
    return _USUAL_FACTOR


def _config(part: Any, name: str) -> Any:
    return getattr(getattr(part, "config", None), name, None)
