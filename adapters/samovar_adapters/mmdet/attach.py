"""Where in a detector its predictions are complete and the evaluator has not yet seen them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from samovar_adapters.mmdet.images import images_of
from samovar_adapters.mmdet.masker import Masker

__all__ = ["attach"]


def attach(model: Any, masker: Masker) -> Callable[[], None]:
    """Have every prediction of `model` filled with masks, from now until the function that this returns is called.

    A hook of the runner comes too late: the loops hand the predictions to the evaluator before they call
    `after_test_iter`. So it is one of torch's forward hooks; or, under test-time augmentation, where nothing calls
    `forward` and each view has predictions of its own, the merging of the views.

    Args:
        model: a detector, a `DetTTAModel` around one, or a parallel wrapper around either.
    """
    model = _unwrapped(model)
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


def _unwrapped(model: Any) -> Any:
    from mmengine.model import is_model_wrapper

    return model.module if is_model_wrapper(model) else model
