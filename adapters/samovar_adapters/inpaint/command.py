"""`samovar inpaint`: an object gone, moved, repainted or cut out, on one photo or a folder of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from samovar_adapters.inpaint.options import (
    COLOUR,
    FEATHER,
    OFFSET,
    edge_options,
    edges_of,
    file_options,
    job_options,
    method_option,
    painter_of,
    pipeline_options,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["inpaint"]


@click.group()
def inpaint() -> None:
    """Take what you point at out of a picture, move it, repaint it, or cut it out.

    The base install fills holes from their surroundings; --pipeline has a diffusion model do it. Pixels away from the
    masks keep their exact values.
    """


@inpaint.command()
@job_options
@edge_options()
@method_option
@pipeline_options
def remove(images: tuple[str, ...], method: str, **given: Any) -> int:
    """Remove what is pointed at, named or found.

    \b
    samovar inpaint remove street.jpg --point 200,180
    samovar inpaint remove photos/ --source faces --out without-faces/
    """
    from samovar_adapters.inpaint.jobs import remove as job

    painter, edges = painter_of(given, method), edges_of(given)
    return _run(images, "removed", lambda image, masks: job(image, masks, painter, edges), given)


@inpaint.command()
@job_options
@edge_options()
@pipeline_options
def fill(images: tuple[str, ...], **given: Any) -> int:
    """Have a diffusion pipeline paint something else in the object's place.

    \b
    samovar inpaint fill desk.jpg --box 170,15,410,205 --prompt "a bowl of soup" --pipeline PATH
    """
    from samovar_adapters.inpaint.jobs import remove as job

    painter, edges = painter_of(given, None), edges_of(given)
    if painter is None:
        raise click.UsageError("fill paints with a diffusion model: give --pipeline PATH; see also `inpaint remove`")
    return _run(images, "filled", lambda image, masks: job(image, masks, painter, edges), given)


@inpaint.command(name="replace-background")
@job_options
@click.option("--feather", type=FEATHER, default=1, show_default=True, help="Pixels over which the object's rim fades.")
@click.option("--colour", type=COLOUR, help="One colour, such as white or #ffeedd.")
@click.option("--picture", metavar="FILE", help="Another picture, scaled to cover the image.")
@pipeline_options
def replace_background(
    images: tuple[str, ...], feather: float, colour: tuple[int, int, int] | None, picture: str | None, **given: Any
) -> int:
    """Put a colour, another picture or what a pipeline paints behind the object.

    \b
    samovar inpaint replace-background portrait.jpg --box 25,12,370,511 --colour white
    """
    from samovar.image import Image
    from samovar_adapters.inpaint.background import replace_background as job

    painter = painter_of(given, None)
    ways = [way for way in (colour, picture, painter) if way is not None]
    if len(ways) != 1:
        raise click.UsageError("say what comes behind: one of --colour, --picture and --pipeline")
    background = Image(picture) if picture else ways[0]
    return _run(images, "background", lambda image, masks: job(image, masks, background, feather=feather), given)


@inpaint.command()
@job_options
@edge_options()
@method_option
@pipeline_options
@click.option("--by", type=OFFSET, required=True, metavar="X,Y", help="Pixels to the right and down; may be negative.")
def move(images: tuple[str, ...], method: str, by: tuple[int, int], **given: Any) -> int:
    """Move an object and fill the place that it leaves.

    \b
    samovar inpaint move desk.jpg --point 350,290 --by -120,40
    """
    from samovar_adapters.inpaint.jobs import move as job

    painter, edges = painter_of(given, method), edges_of(given)
    return _run(images, "moved", lambda image, masks: job(image, masks, by, painter, edges), given)


@inpaint.command(name="cut-out")
@job_options
@click.option("--feather", type=FEATHER, default=1, show_default=True, help="Pixels over which its rim fades out.")
@click.option("--crop", is_flag=True, help="Only the part inside its box.")
def cut_out(images: tuple[str, ...], feather: float, crop: bool, **given: Any) -> int:
    """Cut an object out, on a transparent background.

    \b
    samovar inpaint cut-out desk.jpg --box 170,15,410,205 --crop
    """
    from samovar_adapters.inpaint.jobs import cut_out as job

    return _run(images, "cut-out", lambda image, masks: job(image, masks, feather, crop=crop), given)


@inpaint.command(name="edit-text")
@file_options
@click.option(
    "--source",
    "-s",
    default="rapidocr",
    show_default=True,
    metavar="NAME[=ARGUMENT]",
    help="The OCR source that finds the text, such as rapidocr=words or tesseract.",
)
@click.option("--find", metavar="WORDS", help="Only text that contains these words.  [default: all text]")
@click.option("--replace", metavar="WORDS", help="Words to put there instead.  [default: none]")
@edge_options(dilate=3, feather=1)
@method_option
@pipeline_options
def edit_text(
    images: tuple[str, ...], source: str, find: str | None, replace: str | None, method: str, **given: Any
) -> int:
    """Remove text, or put other words in its place.

    \b
    samovar inpaint edit-text sign.jpg --find closed
    samovar inpaint edit-text sign.jpg --find closed --replace open
    """  # fmt: skip
    from samovar.loading import load, open_source
    from samovar_adapters.inpaint.batch import paint_files
    from samovar_adapters.inpaint.text import edit_text as job
    from samovar_adapters.inpaint.text import text_masks

    if given["pipeline"] and replace:  # the model writes the words itself
        given["prompt"], replace = given["prompt"] or f'text that says "{replace}"', None
    painter, edges, finder = painter_of(given, method), edges_of(given), open_source(source)
    return paint_files(
        load(cache="off"),
        images,
        "text",
        lambda item, image: text_masks(image, finder, find),
        lambda image, masks: job(image, masks, replace, painter, edges),
        **given,
    )


def _run(images: tuple[str, ...], what: str, paint: Callable[[Image, Masks], NDArray[np.uint8]], given: Any) -> int:
    """Segment and paint every image, and return the exit status."""
    from samovar.loading import load
    from samovar_adapters.inpaint.batch import paint_files
    from samovar_adapters.inpaint.selection import selected

    runtime = load(given.pop("model"), **{name: given.pop(name) for name in _LOADING})
    files = {name: given.pop(name) for name in ("out", "resume", "as_json", "quiet")}
    return paint_files(runtime, images, what, selected(runtime, **given), paint, **files)


_LOADING = ("weights", "device", "dtype", "cache", "memory", "converters")
