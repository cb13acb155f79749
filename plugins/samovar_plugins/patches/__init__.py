"""Inpainting on the base install: patches of the surroundings, and OpenCV's interpolation."""

from __future__ import annotations

from samovar.plugins import InpainterSpec, hookimpl

__all__ = ["register_inpainters"]

_HOME = "samovar_plugins.patches.inpainter"


@hookimpl
def register_inpainters() -> tuple[InpainterSpec, ...]:
    """What fills holes without a model."""
    return (
        InpainterSpec("patches", f"{_HOME}:open_patches", "continues texture with patches of the surroundings"),
        InpainterSpec("telea", f"{_HOME}:open_telea", "continues smooth surroundings by fast marching; OpenCV's"),
        InpainterSpec("navier-stokes", f"{_HOME}:open_navier_stokes", "continues smooth surroundings; OpenCV's"),
    )
