"""Diffusion pipelines of Hugging Face's `diffusers`, fed with masks.

As a plugin it brings the inpainter `diffusers=PATH|ID`. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy
from samovar.plugins import InpainterSpec, hookimpl

if TYPE_CHECKING:
    from samovar_adapters.diffusers.inpainting import SharedDevice, inpaint, inpaint_batch
    from samovar_adapters.diffusers.modular import ClickToMask, SegmenterComponent
    from samovar_adapters.diffusers.pipeline import DiffusersInpainter, load_pipeline

__all__ = [
    "ClickToMask",
    "DiffusersInpainter",
    "SegmenterComponent",
    "SharedDevice",
    "inpaint",
    "inpaint_batch",
    "load_pipeline",
]

_NAMES = {
    "inpainting": "SharedDevice inpaint inpaint_batch",
    "modular": "ClickToMask SegmenterComponent",
    "pipeline": "DiffusersInpainter load_pipeline",
}
_RENAMED = {"DiffusersPainter": "samovar_adapters.diffusers.DiffusersInpainter"}

__getattr__ = lazy(__name__, {name: home for home, names in _NAMES.items() for name in names.split()}, _RENAMED)


@hookimpl
def register_inpainters() -> tuple[InpainterSpec, ...]:
    """Any inpainting pipeline."""
    return (
        InpainterSpec(
            "diffusers",
            "samovar_adapters.diffusers.pipeline:open_diffusers",
            "repaints with a diffusion pipeline from a folder or the hub",
            options=(
                "prompt",
                "negative_prompt",
                "num_inference_steps",
                "strength",
                "guidance_scale",
                "seed",
                "size",
                "device",
                "dtype",
                "progress_bar",
            ),
            extra="diffusers",
            argument="PATH|ID",
        ),
    )
