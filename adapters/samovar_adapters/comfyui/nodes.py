"""ComfyUI nodes. ComfyUI's IMAGE is a B×H×W×3 float32 tensor in [0, 1], its MASK B×H×W float32, 1 where masked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from samovar.errors import InputError
from samovar.image import Image
from samovar.loading import load
from samovar.masks import Masks
from samovar.plugins import list_segmenters
from samovar.prompts import Prompt
from samovar.sizes import format_bytes

if TYPE_CHECKING:
    from samovar.runtime import Runtime

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

_CATEGORY = "samovar"
_MODEL = "SAMOVAR_MODEL"


class LoadModel:
    """A segmenter by name."""

    RETURN_TYPES = (_MODEL,)
    RETURN_NAMES = ("model",)
    FUNCTION = "load"
    CATEGORY = _CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """The models that are installed, and where they may run."""
        names = [spec.name for spec in list_segmenters()]
        first = names.index("default") if "default" in names else 0
        return {
            "required": {
                "model": (names, {"default": names[first]}),
                "device": (["auto", "cpu", "cuda", "mps"], {"default": "auto"}),
            },
            "optional": {"weights": ("STRING", {"default": ""})},
        }

    def load(self, model: str, device: str, weights: str = "") -> tuple[Runtime]:
        """The runtime, with the cache that all of Samovar's tools share."""
        return (load(model, device=device, weights=weights or None),)


class PromptMask:
    """The mask of an object that points or a box mark, on every image of the batch."""

    RETURN_TYPES = ("MASK",)
    FUNCTION = "segment"
    CATEGORY = _CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """Points and a box are JSON, in pixels: [[x, y], …] or [[x, y, 0 or 1], …], and [x1, y1, x2, y2]."""
        return {
            "required": {"model": (_MODEL,), "image": ("IMAGE",)},
            "optional": {
                "points": ("STRING", {"default": "", "multiline": True}),
                "box": ("STRING", {"default": ""}),
            },
        }

    def segment(self, model: Runtime, image: Any, points: str = "", box: str = "") -> tuple[Any]:
        """B×H×W. Raises InputError for neither points nor a box, or malformed ones."""
        prompt = _prompt(points, box)
        return (_each(image, lambda one: model.segment(one, [prompt])),)


class AutomaticMask:
    """The masks of all objects, joined; or one object's, by its rank in size."""

    RETURN_TYPES = ("MASK",)
    FUNCTION = "segment"
    CATEGORY = _CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """How dense the grid of points is, and which object: 0 for all, 1 for the largest."""
        return {
            "required": {
                "model": (_MODEL,),
                "image": ("IMAGE",),
                "points_per_side": ("INT", {"default": 32, "min": 1, "max": 128}),
                "rank": ("INT", {"default": 0, "min": 0, "max": 1000}),
            }
        }

    def segment(self, model: Runtime, image: Any, points_per_side: int, rank: int) -> tuple[Any]:
        """B×H×W; black where there are fewer objects than `rank`."""

        def masks(one: Image) -> Masks:
            found = model.segment_all(one, points_per_side=points_per_side)
            order = np.argsort(-found.areas, kind="stable")
            return found if rank == 0 else found[order[rank - 1 : rank]]

        return (_each(image, masks),)


class CacheStats:
    """What the embedding cache did, as text."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "stats"
    CATEGORY = _CATEGORY
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """A model; a mask, if given, has the counts taken after it was made."""
        return {"required": {"model": (_MODEL,)}, "optional": {"after": ("MASK",)}}

    @classmethod
    def IS_CHANGED(cls, **given: Any) -> float:  # noqa: N802
        """Never the same: counts move without any input changing. NaN differs from itself."""
        return float("nan")

    def stats(self, model: Runtime, after: Any = None) -> dict[str, Any]:
        """The text, for the next node and for the screen."""
        text = "\n".join(
            f"{tier.tier} · {tier.model}: {tier.entries} images, {format_bytes(tier.nbytes)}"
            for tier in model.cache.stats()
        )
        return {"ui": {"text": [text]}, "result": (text,)}


def _prompt(points: str, box: str) -> Prompt:
    given: dict[str, Any] = {}
    for name, text, shape in (("points", points, "[[x, y], …]"), ("box", box, "[x1, y1, x2, y2]")):
        if text.strip():
            try:
                given[name] = json.loads(text)
            except ValueError:
                raise InputError(f"{name}: expected {shape} as JSON; got {text[:60]!r}") from None
    if "points" in given:
        rows = given["points"]
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) in (2, 3) for row in rows):
            raise InputError(f"points: expected [[x, y], …] or [[x, y, 0 or 1], …]; got {points[:60]!r}")
        given["points"] = [row[:2] for row in rows]
        given["point_labels"] = [row[2] if len(row) == 3 else 1 for row in rows]
    return Prompt(**given)


def _each(images: Any, masks_of: Callable[[Image], Masks]) -> Any:
    """A B×H×W float32 tensor: for every image of the batch the union of its masks."""
    import torch

    planes = []
    for image in images:
        pixels = Image(np.rint(image.detach().cpu().numpy()[..., :3] * 255).clip(0, 255).astype(np.uint8))
        masks = masks_of(pixels)
        planes.append(masks.union().to_array()[0])
    return torch.from_numpy(np.stack(planes).astype(np.float32))


NODE_CLASS_MAPPINGS: dict[str, type] = {
    "SamovarLoadModel": LoadModel,
    "SamovarPromptMask": PromptMask,
    "SamovarAutomaticMask": AutomaticMask,
    "SamovarCacheStats": CacheStats,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "SamovarLoadModel": "Load segmenter (Samovar)",
    "SamovarPromptMask": "Mask from points or a box (Samovar)",
    "SamovarAutomaticMask": "Mask everything (Samovar)",
    "SamovarCacheStats": "Cache statistics (Samovar)",
}
