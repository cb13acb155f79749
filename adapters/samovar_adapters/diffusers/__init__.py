"""Diffusion pipelines of Hugging Face's `diffusers`, fed with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.diffusers.inpainting import inpaint, inpaint_batch
    from samovar_adapters.diffusers.load import load_pipeline
    from samovar_adapters.diffusers.modular import ClickToMask, SegmenterComponent
    from samovar_adapters.diffusers.offload import SharedDevice
    from samovar_adapters.diffusers.painter import DiffusersPainter

_HOME = {
    "ClickToMask": "modular",
    "DiffusersPainter": "painter",
    "SegmenterComponent": "modular",
    "SharedDevice": "offload",
    "inpaint": "inpainting",
    "inpaint_batch": "inpainting",
    "load_pipeline": "load",
}

__all__ = [
    "ClickToMask",
    "DiffusersPainter",
    "SegmenterComponent",
    "SharedDevice",
    "inpaint",
    "inpaint_batch",
    "load_pipeline",
]

__getattr__ = lazy(__name__, _HOME)
