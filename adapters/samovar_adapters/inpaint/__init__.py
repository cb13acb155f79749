"""Taking what is masked out of an image, moving it, cutting it out, or having a diffusion model repaint it.

As a plugin it brings the `samovar inpaint` commands. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy
from samovar.plugins import hookimpl

if TYPE_CHECKING:
    import click

    from samovar.inpainting import Inpainter
    from samovar_adapters.inpaint.jobs import MasksLike, as_masks, cut_out, move, remove, replace_background
    from samovar_adapters.inpaint.repainting import MaskMargins, Region, open_inpainter, repaint, repaint_batch, resized
    from samovar_adapters.inpaint.text import edit_text, text_masks

__all__ = [
    "Inpainter",
    "MaskMargins",
    "MasksLike",
    "Region",
    "as_masks",
    "cut_out",
    "edit_text",
    "move",
    "open_inpainter",
    "remove",
    "repaint",
    "repaint_batch",
    "replace_background",
    "resized",
    "text_masks",
]

_NAMES = {
    "jobs": "MasksLike as_masks cut_out move remove replace_background",
    "repainting": "Inpainter MaskMargins Region open_inpainter repaint repaint_batch resized",
    "text": "edit_text text_masks",
}
_RENAMED = {
    "ClassicalPainter": "samovar_adapters.inpaint.open_inpainter",
    "Edges": "samovar_adapters.inpaint.MaskMargins",
    "Painter": "samovar_adapters.inpaint.Inpainter",
}

__getattr__ = lazy(__name__, {name: home for home, names in _NAMES.items() for name in names.split()}, _RENAMED)


@hookimpl
def register_commands(cli: click.Group) -> None:
    """`samovar inpaint …`."""
    from samovar_adapters.inpaint.command import inpaint

    cli.add_command(inpaint)
