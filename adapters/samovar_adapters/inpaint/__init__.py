"""Taking what is masked out of a picture, moving it, cutting it out, or having a diffusion model repaint it."""

from __future__ import annotations

from samovar_adapters.inpaint.jobs import cut_out, move, remove
from samovar_adapters.inpaint.masks import as_masks
from samovar_adapters.inpaint.opencv import OpenCVPainter
from samovar_adapters.inpaint.painter import Painter
from samovar_adapters.inpaint.repaint import Edges, repaint

__all__ = ["Edges", "OpenCVPainter", "Painter", "as_masks", "cut_out", "move", "remove", "repaint"]
