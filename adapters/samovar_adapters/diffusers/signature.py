"""What a pipeline takes and at which sizes it works, read off the pipeline itself."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

from samovar.errors import InputError

__all__ = ["Signature"]

_USUAL_SIDE = 512
_USUAL_FACTOR = 8


@dataclass(frozen=True)
class Signature:
    """How to call one inpainting pipeline.

    Attributes:
        name: the pipeline's class, for messages.
        parameters: what its call takes, by name; True for those that must be given.
        native: the side of the square pictures that it was trained on, in pixels.
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
