"""Masks as rotated boxes: in MMRotate's angle conventions, and as DOTA text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_adapters.rotated.boxes import Convention, corners, rotated_boxes

_HERE = ("Convention", "corners", "rotated_boxes")

__all__ = ["Convention", "corners", "rotated_boxes"]


def __getattr__(name: str) -> Any:
    # Listing the sinks imports this package, and must stay cheap.
    if name in _HERE:
        return getattr(import_module(f"{__name__}.boxes"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
