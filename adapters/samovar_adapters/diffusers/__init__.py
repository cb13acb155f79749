"""Diffusion pipelines of Hugging Face's `diffusers`, fed with masks."""

from __future__ import annotations

from samovar_adapters.diffusers.inpaint import inpaint, inpaint_batch
from samovar_adapters.diffusers.load import load_pipeline
from samovar_adapters.diffusers.painter import DiffusersPainter

__all__ = ["DiffusersPainter", "inpaint", "inpaint_batch", "load_pipeline"]
