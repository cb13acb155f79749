"""Masks for scripts that call `DetInferencer` or `inference_detector`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from samovar.errors import InputError
from samovar.loading import load
from samovar.runtime import Runtime
from samovar_adapters.mmdet.attach import attach
from samovar_adapters.mmdet.masker import Masker
from samovar_adapters.mmdet.options import MaskOptions

__all__ = ["with_masks"]

T = TypeVar("T")

_attached: WeakKeyDictionary[Any, Callable[[], None]] = WeakKeyDictionary()


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
