"""`SamovarMaskHook`: masks for MMDetection's validation and test loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from samovar.loading import load
from samovar_adapters.mmdet.attach import attach
from samovar_adapters.mmdet.masker import Masker
from samovar_adapters.mmdet.options import MaskOptions

__all__ = ["SamovarMaskHook"]


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
