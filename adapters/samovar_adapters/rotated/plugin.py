"""Registers the DOTA sink. Imports nothing of it."""

from __future__ import annotations

from samovar.plugins import MaskSinkSpec, hookimpl

__all__ = ["register_mask_sinks"]


@hookimpl
def register_mask_sinks() -> tuple[MaskSinkSpec, ...]:
    """Rotated boxes in files."""
    return (
        MaskSinkSpec(
            "dota",
            "samovar_adapters.rotated.boxes:DotaSink",
            "rotated boxes as DOTA text, one file per image",
            "",
            ".txt",
        ),
    )
