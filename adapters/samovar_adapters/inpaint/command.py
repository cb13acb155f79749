"""`samovar inpaint`: an object gone, moved or cut out, on one photo or a folder of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from samovar_adapters.inpaint.options import OFFSET, edge_options, edges_of, job_options, painter_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["inpaint"]


@click.group()
def inpaint() -> None:
    """Take what you point at out of a picture, move it, or cut it out.

    The base install fills holes with OpenCV; pixels away from the masks keep their exact values.
    """


@inpaint.command()
@job_options
@edge_options
@painter_options
def remove(images: tuple[str, ...], method: str, **given: Any) -> int:
    """Remove what is pointed at, named or found.

    \b
    samovar inpaint remove street.jpg --point 200,180
    samovar inpaint remove photos/ --source faces --out without-faces/
    """
    from samovar_adapters.inpaint import OpenCVPainter
    from samovar_adapters.inpaint import remove as job

    painter, edges = OpenCVPainter(method), edges_of(given)
    return _run(images, "removed", lambda image, masks: job(image, masks, painter, edges), given)


@inpaint.command()
@job_options
@edge_options
@painter_options
@click.option("--by", type=OFFSET, required=True, metavar="X,Y", help="Pixels to the right and down; may be negative.")
def move(images: tuple[str, ...], method: str, by: tuple[int, int], **given: Any) -> int:
    """Move an object and fill the place that it leaves.

    \b
    samovar inpaint move desk.jpg --point 350,290 --by -120,40
    """
    from samovar_adapters.inpaint import OpenCVPainter
    from samovar_adapters.inpaint import move as job

    painter, edges = OpenCVPainter(method), edges_of(given)
    return _run(images, "moved", lambda image, masks: job(image, masks, by, painter, edges), given)


@inpaint.command(name="cut-out")
@job_options
@click.option("--feather", type=float, default=1, show_default=True, help="Pixels over which its rim fades out.")
@click.option("--crop", is_flag=True, help="Only the part inside its box.")
def cut_out(images: tuple[str, ...], feather: float, crop: bool, **given: Any) -> int:
    """Cut an object out, on a transparent background.

    \b
    samovar inpaint cut-out desk.jpg --box 170,15,410,205 --crop
    """
    from samovar_adapters.inpaint import cut_out as job

    return _run(images, "cut-out", lambda image, masks: job(image, masks, feather, crop=crop), given)


def _run(images: tuple[str, ...], what: str, paint: Callable[[Image, Masks], NDArray[np.uint8]], given: Any) -> int:
    """Paint every image and return the exit status."""
    from samovar_adapters.inpaint.batch import paint_files

    return paint_files(images, what, paint, **given)
