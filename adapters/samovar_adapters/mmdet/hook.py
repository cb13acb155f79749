"""Where masks get into MMDetection: `SamovarMaskHook` in its loops, `with_masks` in scripts, and what both attach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from mmengine import fileio
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from numpy.typing import NDArray

from samovar.errors import ImageError, InputError
from samovar.image import Image
from samovar.loading import load
from samovar.runtime import Runtime
from samovar_adapters.mmdet.masker import Masker, MaskOptions

__all__ = ["SamovarMaskHook", "attach", "images_of", "with_masks"]

T = TypeVar("T")

_attached: WeakKeyDictionary[Any, Callable[[], None]] = WeakKeyDictionary()


@HOOKS.register_module()
class SamovarMaskHook(Hook):  # type: ignore[misc]  # mmengine has no annotations
    """During validation and test, turns predicted boxes into masks before the evaluator sees them.

        custom_imports = dict(imports=["samovar_adapters.mmdet.hook"])
        custom_hooks = [dict(type="SamovarMaskHook", model="sam2.1-tiny", score_thr=0.05)]

    Boxes, labels and scores stay; `masks` and `mask_scores` are added. The embeddings are kept in Samovar's cache, so
    that evaluating again encodes nothing.

    Args:
        model, weights, device, dtype, cache, memory: as in `samovar.load`. In distributed evaluation each process
            loads it on the device that is current there.
        options: the fields of `MaskOptions`: score_thr, max_per_image, box_expand, tighten_boxes, existing, rle.

    Raises:
        InputError: an option that does not exist or cannot be.
    """

    def __init__(
        self,
        model: str = "default",
        weights: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        cache: str | None = "auto",
        memory: int | str | None = None,
        **options: Any,
    ) -> None:
        self._options = MaskOptions.of(options)
        self._loading: dict[str, Any] = {
            "weights": weights,
            "device": device,
            "dtype": dtype,
            "cache": cache,
            "memory": memory,
        }
        self._model = model
        self._masker: Masker | None = None
        self._detach: Callable[[], None] | None = None

    @property
    def masker(self) -> Masker:
        """What fills in the masks; the model is loaded when it is first wanted."""
        if self._masker is None:
            self._masker = Masker(load(self._model, **self._loading), self._options)
        return self._masker

    def _start(self, runner: Any) -> None:
        self._stop(runner)  # an evaluation that failed before had no end
        self._detach = attach(runner.model, self.masker)

    def _stop(self, runner: Any) -> None:
        if self._detach is not None:
            self._detach()
            self._detach = None

    before_val = before_test = _start
    after_val = after_test = _stop


def with_masks(detector: T, model: str | Runtime | None = "default", **options: Any) -> T:
    """`detector` itself, whose predictions have masks from now on.

        inferencer = with_masks(DetInferencer("rtmdet_tiny_8xb32-300e_coco"), "sam2.1-tiny")
        inferencer("street.jpg", out_dir="out")

        detector = with_masks(init_detector(config, checkpoint))
        inference_detector(detector, "street.jpg").pred_instances.masks

    Given again, the later model and options hold; with `model=None` the detector predicts boxes only, as before. An
    array has no file to go back to: its masks are made on what the detector was shown, scaled back to its size.

    Args:
        detector: a `DetInferencer`, or a detector as `init_detector` gives it.
        model: what segments: a name or path as for `samovar.load`, a `Runtime`, or None.
        options: the fields of `MaskOptions`.

    Raises:
        InputError: neither an inferencer nor a detector; an option that does not exist or cannot be.
    """
    module: Any = getattr(detector, "model", detector)
    if not hasattr(module, "register_forward_hook"):
        raise InputError(f"with_masks takes a DetInferencer or a detector; got {type(detector).__name__}")
    wanted = MaskOptions.of(options)
    if module in _attached:
        _attached.pop(module)()
    if model is not None:
        runtime = model if isinstance(model, Runtime) else load(model)
        _attached[module] = attach(module, Masker(runtime, wanted))
    return detector


def attach(model: Any, masker: Masker) -> Callable[[], None]:
    """Have every prediction of `model` filled with masks, from now until the function that this returns is called.

    A hook of the runner comes too late: the loops hand the predictions to the evaluator before they call
    `after_test_iter`. So it is one of torch's forward hooks; or, under test-time augmentation, where nothing calls
    `forward` and each view has predictions of its own, the merging of the views.

    Args:
        model: a detector, a `DetTTAModel` around one, or a parallel wrapper around either.
    """
    model = model.module if is_model_wrapper(model) else model
    if hasattr(model, "merge_preds"):
        return _attach_to_merging(model, masker)

    def fill(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if kwargs.get("mode") == "predict":
            inputs = kwargs["inputs"] if "inputs" in kwargs else args[0]
            masker.fill(output, images_of(output, inputs, getattr(module, "data_preprocessor", None)))

    remove: Callable[[], None] = model.register_forward_hook(fill, with_kwargs=True).remove
    return remove


def _attach_to_merging(model: Any, masker: Masker) -> Callable[[], None]:
    merge = model.merge_preds

    def merge_and_fill(views: Any) -> Any:
        samples = merge(views)
        masker.fill(samples, images_of(samples, None, None))
        return samples

    model.merge_preds = merge_and_fill
    return lambda: delattr(model, "merge_preds")


def images_of(samples: Sequence[Any], inputs: Any, preprocessor: Any) -> list[Image]:
    """The images of a batch of `DetDataSample`s: their files where they have some, else what the detector was shown.

    Args:
        inputs: B×3×H×W, the batch as the detector's network got it, or None if it is not at hand.
        preprocessor: the `DetDataPreprocessor` that made it.

    Raises:
        InputError: a sample without a file, of a batch that is not at hand or was turned or cropped.
        ImageError: a file that cannot be read again.
    """
    return [
        _of_file(sample) or _of_inputs(sample, number, inputs, preprocessor) for number, sample in enumerate(samples)
    ]


def _of_file(sample: Any) -> Image | None:
    path = sample.get("img_path")
    if not path:
        return None
    if Path(path).is_file():
        return Image(path)
    try:
        return Image(fileio.get(path), name=str(path))  # whatever storage the data set lies in
    except OSError as error:
        raise ImageError(f"{path}: the detector saw it, but it cannot be read again: {error}") from error


def _of_inputs(sample: Any, number: int, inputs: Any, preprocessor: Any) -> Image:
    """The detector's own input with padding, normalisation and resizing undone: an array has no file to go back to."""
    height, width = sample.ori_shape[:2]
    if inputs is None or sample.get("flip"):
        raise InputError(
            f"prediction {number} has no img_path and its image is not at hand; "
            'expected "img_path" among the meta_keys of PackDetInputs; add it to the test pipeline'
        )
    across, down = sample.get("scale_factor") or (1.0, 1.0)
    columns, rows = round(width * across), round(height * down)  # not img_shape, which counts padding in
    pixels = inputs[number, :, :rows, :columns].detach().float().cpu().numpy()
    if getattr(preprocessor, "_enable_normalize", False):
        pixels = pixels * preprocessor.std.cpu().numpy() + preprocessor.mean.cpu().numpy()
    shown = pixels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    if not getattr(preprocessor, "_channel_conversion", False):
        shown = shown[:, :, ::-1]  # MMDetection reads BGR
    resized: NDArray[np.uint8] = np.ascontiguousarray(shown)
    if (rows, columns) != (height, width):
        how = cv2.INTER_AREA if rows > height else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(resized, (width, height), interpolation=how), np.uint8)
    return Image(resized, name=f"image {number} of the batch")
