"""Where masks get into MMDetection: `SamovarMaskHook` in its loops, `with_masks` in scripts, and what both attach."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import PIL.Image
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.evaluation import CocoMetric
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
from samovar_adapters.openmmlab import FAILURES, reason

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

    def before_val(self, runner: Any) -> None:
        """Called by the validation loop."""
        self._start(runner, runner.val_loop, "after_val_iter")

    def before_test(self, runner: Any) -> None:
        """Called by the test loop."""
        self._start(runner, runner.test_loop, "after_test_iter")

    def _start(self, runner: Any, loop: Any, stage: str) -> None:
        self._stop(runner)  # an evaluation that failed before had no end
        options = self._options
        if options.rle is None:
            options = replace(options, rle=_only_coco_looks(runner, loop, stage))
        self._detach = attach(runner.model, Masker(self.masker.runtime, options), _backend_args(loop))

    def _stop(self, runner: Any) -> None:
        if self._detach is not None:
            self._detach()
            self._detach = None

    after_val = after_test = _stop


def _only_coco_looks(runner: Any, loop: Any, stage: str) -> bool:
    """Whether nothing but `CocoMetric`, or a metric made of it, sees a loop's predictions: it wants run lengths.

    Other metrics and hooks that are called after each iteration may want a tensor. mmengine's own hooks look at no
    prediction, and MMDetection's visualiser only where it draws.
    """
    metrics = getattr(loop.evaluator, "metrics", ())
    others = [
        hook
        for hook in runner.hooks
        if not type(hook).__module__.startswith("mmengine.")
        and stage in hook.get_triggered_stages()
        and not (isinstance(hook, DetVisualizationHook) and not hook.draw)
    ]
    return bool(metrics) and all(isinstance(metric, CocoMetric) for metric in metrics) and not others


def _backend_args(loop: Any) -> dict[str, Any] | None:
    """How a loop's data set reads its files, by its pipeline's first step that says so; None: from the disk."""
    dataset = loop.dataloader.dataset
    dataset = getattr(dataset, "datasets", [dataset])[0]  # of several that are joined
    steps = getattr(getattr(dataset, "pipeline", None), "transforms", ())
    found: dict[str, Any] | None = next(filter(None, (getattr(step, "backend_args", None) for step in steps)), None)
    return found


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


def attach(model: Any, masker: Masker, backend_args: dict[str, Any] | None = None) -> Callable[[], None]:
    """Have every prediction of `model` filled with masks, from now until the function that this returns is called.

    A hook of the runner comes too late: the loops hand the predictions to the evaluator before they call
    `after_test_iter`. So it is one of torch's forward hooks; or, under test-time augmentation, where nothing calls
    `forward` and each view has predictions of its own, the merging of the views.

    Args:
        model: a detector, a `DetTTAModel` around one, or a parallel wrapper around either.
        backend_args: of the data set's loader, where its files are not on the disk.
    """
    model = model.module if is_model_wrapper(model) else model
    if hasattr(model, "merge_preds"):
        merge = model.merge_preds

        def merge_and_fill(views: Any) -> Any:
            samples = merge(views)
            masker.fill(samples, images_of(samples, backend_args=backend_args))
            return samples

        model.merge_preds = merge_and_fill
        return lambda: delattr(model, "merge_preds")

    def fill(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if kwargs.get("mode") == "predict":
            inputs = kwargs["inputs"] if "inputs" in kwargs else args[0]
            preprocessor = getattr(module, "data_preprocessor", None)
            masker.fill(output, images_of(output, inputs, preprocessor, backend_args=backend_args))

    remove: Callable[[], None] = model.register_forward_hook(fill, with_kwargs=True).remove
    return remove


def images_of(
    samples: Sequence[Any], inputs: Any = None, preprocessor: Any = None, *, backend_args: dict[str, Any] | None = None
) -> list[Image]:
    """The images of a batch of `DetDataSample`s: their files where they have some, else what the detector was shown.

    A file is taken upright, or as it is stored where the detector saw it so: some loaders leave out what the file's
    EXIF orientation says.

    Args:
        inputs: B×3×H×W, the batch as the detector's network got it, or None if it is not at hand.
        preprocessor: the `DetDataPreprocessor` that made it.
        backend_args: how mmengine reads the files, if not from the disk.

    Raises:
        InputError: a sample without a file, of a batch that is not at hand or was turned or cropped.
        ImageError: a file that cannot be read again, of such a batch.
    """
    images = []
    for number, sample in enumerate(samples):
        shown = None if inputs is None or sample.get("flip") else _shown(sample, inputs[number], preprocessor)
        images.append(_of_file(sample, shown, backend_args) or _of_shown(sample, number, shown))
    return images


def _shown(sample: Any, pixels: Any, preprocessor: Any) -> NDArray[np.uint8]:
    """The detector's own input, RGB, with padding and normalisation undone."""
    height, width = sample.ori_shape[:2]
    across, down = sample.get("scale_factor") or (1.0, 1.0)
    columns, rows = round(width * across), round(height * down)  # not img_shape, which counts padding in
    values = pixels[:, :rows, :columns].detach().float().cpu().numpy()
    if getattr(preprocessor, "_enable_normalize", False):
        values = values * preprocessor.std.cpu().numpy() + preprocessor.mean.cpu().numpy()
    shown: NDArray[np.uint8] = values.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    if not getattr(preprocessor, "_channel_conversion", False):
        shown = shown[:, :, ::-1]  # MMDetection reads BGR
    return np.ascontiguousarray(shown)


def _of_file(sample: Any, shown: NDArray[np.uint8] | None, backend_args: dict[str, Any] | None) -> Image | None:
    """The sample's file; None if it has none, or one that cannot be read again of an input that is at hand."""
    path = sample.get("img_path")
    if not path:
        return None
    try:
        source = path if Path(path).is_file() else fileio.get(path, backend_args)
    except (*FAILURES, ImportError) as error:  # whatever storage the data set lies in
        if shown is not None:
            return None
        raise ImageError(f"{path}: the detector saw it, but it cannot be read again: {reason(error)}") from error
    image = Image(source, name=str(path))
    back = _TURNED_BACK.get(_orientation(source))
    if back is None:
        return image
    stored = back(image.pixels)
    wanted = tuple(sample.ori_shape[:2])
    fits, stored_fits = image.pixels.shape[:2] == wanted, stored.shape[:2] == wanted
    if fits and stored_fits and shown is not None:  # upside down, mirrored or square: only a look tells
        stored_fits = _difference(stored, shown) < _difference(image.pixels, shown)
        fits = not stored_fits
    return Image(np.ascontiguousarray(stored), name=str(path)) if stored_fits and not fits else image


# EXIF orientation → from the upright pixels to those that the file stores.
_TURNED_BACK: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def _orientation(source: str | bytes) -> int:
    """What the file's EXIF says; 1, upright, where it says nothing or is no file that Pillow knows."""
    try:
        with PIL.Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            return int(file.getexif().get(0x0112, 1))
    except (OSError, ValueError, TypeError, SyntaxError):
        return 1


def _difference(pixels: NDArray[np.uint8], shown: NDArray[np.uint8]) -> float:
    small = cv2.resize(np.ascontiguousarray(pixels), shown.shape[1::-1], interpolation=cv2.INTER_AREA)
    return float(cv2.norm(small, shown, cv2.NORM_L1))


def _of_shown(sample: Any, number: int, shown: NDArray[np.uint8] | None) -> Image:
    """What the detector was shown, scaled back to its size: an array has no file to go back to."""
    if shown is None:
        raise InputError(
            f"prediction {number} has no img_path and its image is not at hand; "
            'expected "img_path" among the meta_keys of PackDetInputs; add it to the test pipeline'
        )
    height, width = sample.ori_shape[:2]
    if shown.shape[:2] != (height, width):
        how = cv2.INTER_AREA if shown.shape[0] > height else cv2.INTER_LINEAR
        shown = np.asarray(cv2.resize(shown, (width, height), interpolation=how), np.uint8)
    return Image(shown, name=f"image {number} of the batch")
