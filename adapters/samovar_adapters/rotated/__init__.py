"""Masks as rotated boxes: in MMRotate's angle conventions, and as DOTA text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy
from samovar.plugins import MaskSinkSpec, hookimpl

if TYPE_CHECKING:
    from samovar_adapters.rotated.boxes import Convention, corners, rotated_boxes, turned

_HOME = {"Convention": "boxes", "corners": "boxes", "rotated_boxes": "boxes", "turned": "boxes"}

__all__ = ["Convention", "corners", "rotated_boxes", "turned"]

__getattr__ = lazy(__name__, _HOME)


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
