"""Images of masks. A library for the tools above it, and the `overlay` sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.overlay.draw import OverlaySink, colours, draw_overlay

__all__ = ["OverlaySink", "colours", "draw_overlay"]

__getattr__ = lazy(__name__, dict.fromkeys(__all__, "draw"))
