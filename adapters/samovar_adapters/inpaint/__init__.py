"""Taking what is masked out of a picture, moving it, cutting it out, or having a diffusion model repaint it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.inpaint.background import replace_background
    from samovar_adapters.inpaint.classical import ClassicalPainter
    from samovar_adapters.inpaint.jobs import cut_out, move, remove
    from samovar_adapters.inpaint.masks import as_masks
    from samovar_adapters.inpaint.painter import Painter
    from samovar_adapters.inpaint.repainting import Edges, repaint
    from samovar_adapters.inpaint.text import edit_text, text_masks

_HOME = {
    "ClassicalPainter": "classical",
    "Edges": "repainting",
    "Painter": "painter",
    "as_masks": "masks",
    "cut_out": "jobs",
    "edit_text": "text",
    "move": "jobs",
    "remove": "jobs",
    "repaint": "repainting",
    "replace_background": "background",
    "text_masks": "text",
}

__all__ = [
    "ClassicalPainter",
    "Edges",
    "Painter",
    "as_masks",
    "cut_out",
    "edit_text",
    "move",
    "remove",
    "repaint",
    "replace_background",
    "text_masks",
]

__getattr__ = lazy(__name__, _HOME)
