"""Registers the overlay sink. Imports nothing of it."""

from __future__ import annotations

from samovar.plugins import MaskSinkSpec, hookimpl

__all__ = ["register_mask_sinks"]


@hookimpl
def register_mask_sinks() -> tuple[MaskSinkSpec, ...]:
    """Images of masks."""
    target = "samovar_adapters.overlay.draw:OverlaySink"
    return (MaskSinkSpec("overlay", target, "the image with its masks outlined and numbered", "", ".png"),)
