"""Taking what is masked out of a picture, moving it, cutting it out, or having a diffusion model repaint it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.inpaint.jobs import cut_out, move, remove
    from samovar_adapters.inpaint.masks import as_masks
    from samovar_adapters.inpaint.opencv import OpenCVPainter
    from samovar_adapters.inpaint.painter import Painter
    from samovar_adapters.inpaint.repaint import Edges, repaint

_HOME = {
    "Edges": "repaint",
    "OpenCVPainter": "opencv",
    "Painter": "painter",
    "as_masks": "masks",
    "cut_out": "jobs",
    "move": "jobs",
    "remove": "jobs",
    "repaint": "repaint",
}

__all__ = ["Edges", "OpenCVPainter", "Painter", "as_masks", "cut_out", "move", "remove", "repaint"]

__getattr__ = lazy(__name__, _HOME)
