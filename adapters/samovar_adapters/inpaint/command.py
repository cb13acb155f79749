"""`samovar inpaint`: an object gone, moved, repainted or cut out, on one photo or a folder of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samovar.cli.options import (
    PromptArguments,
    convert_option,
    images_argument,
    json_option,
    model_options,
    prompt_options,
    quiet_option,
    source_option,
    with_options,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samovar.image import Image
    from samovar.inpainting import Inpainter
    from samovar.masks import Masks
    from samovar_adapters.inpaint.files import Paint
    from samovar_adapters.inpaint.repainting import MaskMargins

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older clicks cannot subscript it

__all__ = ["inpaint"]

Command = TypeVar("Command", bound=Callable[..., Any])

_FARTHEST = 1_000_000  # pixels, about the longest side that an image can have
_LOADING = ("weights", "device", "dtype", "cache", "memory", "converters")
_FILES = ("out", "resume", "as_json", "quiet")


class _Offset(_ParamType):
    name = "X,Y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            x, y = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"expected X,Y in whole pixels; got {value!r}", param, ctx)
        if max(abs(x), abs(y)) > _FARTHEST:
            self.fail(f"expected at most {_FARTHEST} pixels; got {value!r:.60}", param, ctx)
        return x, y


class _Colour(_ParamType):
    name = "COLOUR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        from PIL import ImageColor

        try:
            return ImageColor.getrgb(str(value))[:3]
        except ValueError:
            self.fail(f"expected a colour such as white or #ffeedd; got {value!r}", param, ctx)


def _complete_method(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from samovar.plugins import list_inpainters

    return [spec.name for spec in list_inpainters() if spec.name.startswith(incomplete)]


# ------------------------------------------------------------------------------------------- options


def _file_options(command: Command) -> Command:
    """IMAGE... and where the results go."""
    options = [
        images_argument,
        click.option(
            "--out", "-o", type=click.Path(), metavar="PATH", help="A .png file, or a folder for several images."
        ),
        click.option("--resume", is_flag=True, help="Skip the images that the output already has."),
        json_option,
        quiet_option,
    ]
    return with_options(command, options)


def _job_options(command: Command) -> Command:
    """IMAGE..., what to segment in them, where the results go, and the model."""
    source = source_option("A prompt source that finds it, such as faces.")
    return _file_options(with_options(command, [prompt_options, source, convert_option, model_options]))


def _margin_options(dilate: float = 6, feather: float = 2) -> Callable[[Command], Command]:
    """--dilate and --feather with these defaults, --padding and --each: the values of `_margins_of`."""
    options = [
        click.option("--dilate", type=float, default=dilate, show_default=True, help="Pixels that masks grow by."),
        click.option("--feather", type=float, default=feather, show_default=True,
                     help="Pixels over which the new pixels fade into the old ones."),
        click.option("--padding", type=int, help="Pixels around the mask that count.  [default: half its size]"),
        click.option("--each", is_flag=True, help="Repaint mask by mask instead of all at once."),
    ]  # fmt: skip
    return lambda command: with_options(command, options)


def _margins_of(given: dict[str, Any]) -> MaskMargins:
    from samovar_adapters.inpaint.repainting import MaskMargins

    return MaskMargins(**{name: given.pop(name) for name in ("dilate", "feather", "padding", "each")})


def _method_option(command: Command) -> Command:
    """--method: what fills the holes where no pipeline does."""
    return click.option(
        "--method", default="patches", show_default=True, metavar="NAME[=ARGUMENT]", shell_complete=_complete_method,
        help="How the hole is filled without a pipeline: patches, telea, navier-stokes, or what a plugin brings.",
    )(command)  # fmt: skip


def _pipeline_options(command: Command) -> Command:
    """--pipeline and what it is told: the values of `_inpainter_of`."""
    options = [
        click.option("--pipeline", metavar="PATH|ID", help="A diffusers pipeline that repaints instead."),
        click.option("--prompt", metavar="WORDS", help="What the pipeline is to paint."),
        click.option("--negative-prompt", metavar="WORDS", help="What it is not to paint."),
        click.option("--steps", "num_inference_steps", type=click.IntRange(min=1), help="Steps that it takes."),
        click.option("--strength", type=float, help="How much of what was there it changes, up to 1."),
        click.option("--guidance", "guidance_scale", type=float, help="How closely it follows the prompt."),
        click.option("--size", type=click.IntRange(min=8), help="The side it works at, in pixels.  [default: its own]"),
        click.option("--seed", type=int, default=0, show_default=True, help="Makes what it paints repeatable."),
    ]
    return with_options(command, options)


def _inpainter_of(given: dict[str, Any], method: str | None) -> Inpainter | None:
    """The inpainter that `_pipeline_options` and `_method_option` name, their values taken out of `given`.

    None without a pipeline and a method. A pipeline runs on the device that the model does.
    """
    names = ("prompt", "negative_prompt", "num_inference_steps", "strength", "guidance_scale", "size")
    told = {name: value for name in names if (value := given.pop(name)) is not None}
    pipeline, seed = given.pop("pipeline"), given.pop("seed")
    if pipeline is None and told:
        raise click.UsageError(
            "--prompt, --negative-prompt, --steps, --strength, --guidance and --size need a --pipeline"
        )
    if pipeline is None and method is None:
        return None
    from samovar_adapters.inpaint.repainting import open_inpainter

    if pipeline is None:
        return open_inpainter(str(method))
    told |= {name: given.get(name, "auto") for name in ("device", "dtype")}
    show = sys.stderr.isatty() and not given["quiet"]
    return open_inpainter(f"diffusers={pipeline}", seed=seed, progress_bar=show, **told)


# ------------------------------------------------------------------------------------------- commands


@click.group()
def inpaint() -> None:
    """Take what you point at out of an image, move it, repaint it, or cut it out.

    The base install fills holes from their surroundings; --pipeline has a diffusion model do it. Pixels away from the
    masks keep their exact values.
    """


@inpaint.command()
@_job_options
@_margin_options()
@_method_option
@_pipeline_options
def remove(images: tuple[str, ...], method: str, **given: Any) -> int:
    """Remove what is pointed at, named or found.

    \b
    samovar inpaint remove street.jpg --point 200,180
    samovar inpaint remove photos/ --source faces --out without-faces/
    """
    from samovar_adapters.inpaint.files import fading_too
    from samovar_adapters.inpaint.jobs import remove as job

    inpainter, margins = _inpainter_of(given, method), _margins_of(given)
    paint = fading_too(lambda image, masks, filler: job(image, masks, filler, margins), inpainter)
    return _run(images, "removed", paint, given)


@inpaint.command()
@_job_options
@_margin_options()
@_pipeline_options
def fill(images: tuple[str, ...], **given: Any) -> int:
    """Have a diffusion pipeline paint something else in the object's place.

    \b
    samovar inpaint fill desk.jpg --box 170,15,410,205 --prompt "a bowl of soup" --pipeline PATH
    """
    from samovar_adapters.inpaint.files import fading_too
    from samovar_adapters.inpaint.jobs import remove as job

    inpainter, margins = _inpainter_of(given, None), _margins_of(given)
    if inpainter is None:
        raise click.UsageError("fill paints with a diffusion model: give --pipeline PATH; see also `inpaint remove`")
    paint = fading_too(lambda image, masks, filler: job(image, masks, filler, margins), inpainter)
    return _run(images, "filled", paint, given)


@inpaint.command(name="replace-background")
@_job_options
@click.option(
    "--feather", type=click.FloatRange(0, 32767), default=1, show_default=True,
    help="Pixels over which the object's rim fades.",
)  # fmt: skip
@click.option("--colour", type=_Colour(), help="One colour, such as white or #ffeedd.")
@click.option("--picture", metavar="FILE", help="Another image, scaled to cover this one.")
@_pipeline_options
def replace_background(
    images: tuple[str, ...], feather: float, colour: tuple[int, int, int] | None, picture: str | None, **given: Any
) -> int:
    """Put a colour, another image or what a pipeline paints behind the object.

    \b
    samovar inpaint replace-background portrait.jpg --box 25,12,370,511 --colour white
    """
    from samovar.image import Image
    from samovar_adapters.inpaint.jobs import replace_background as job

    inpainter = _inpainter_of(given, None)
    ways = [way for way in (colour, picture, inpainter) if way is not None]
    if len(ways) != 1:
        raise click.UsageError("say what comes behind: one of --colour, --picture and --pipeline")
    background = Image(picture) if picture else ways[0]

    def paint(image: Image, masks: Masks, alpha: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        return job(image, masks, background, feather=feather, alpha=alpha)

    return _run(images, "background", paint, given)


@inpaint.command()
@_job_options
@_margin_options()
@_method_option
@_pipeline_options
@click.option(
    "--by", type=_Offset(), required=True, metavar="X,Y", help="Pixels to the right and down; may be negative."
)
def move(images: tuple[str, ...], method: str, by: tuple[int, int], **given: Any) -> int:
    """Move an object and fill the place that it leaves.

    \b
    samovar inpaint move desk.jpg --point 350,290 --by -120,40
    """
    from samovar_adapters.inpaint.files import fading_too
    from samovar_adapters.inpaint.jobs import move as job

    inpainter, margins = _inpainter_of(given, method), _margins_of(given)
    paint = fading_too(lambda image, masks, filler: job(image, masks, by, filler, margins), inpainter)
    return _run(images, "moved", paint, given)


@inpaint.command(name="cut-out")
@_job_options
@click.option(
    "--feather", type=click.FloatRange(0, 32767), default=1, show_default=True,
    help="Pixels over which its rim fades out.",
)  # fmt: skip
@click.option("--crop", is_flag=True, help="Only the part inside its box.")
def cut_out(images: tuple[str, ...], feather: float, crop: bool, **given: Any) -> int:
    """Cut an object out, on a transparent background.

    \b
    samovar inpaint cut-out desk.jpg --box 170,15,410,205 --crop
    """
    from samovar_adapters.inpaint.jobs import cut_out as job

    def paint(image: Image, masks: Masks, alpha: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        return job(image, masks, feather, crop=crop, alpha=alpha)

    return _run(images, "cut-out", paint, given)


@inpaint.command(name="edit-text")
@_file_options
@source_option(
    "The OCR source that finds the text, such as rapidocr=words or tesseract.", default="rapidocr", show_default=True
)
@click.option("--find", metavar="WORDS", help="Only text that contains these words.  [default: all text]")
@click.option("--replace", metavar="WORDS", help="Words to put there instead.  [default: none]")
@click.option("--font", metavar="FILE.ttf", help="The typeface of these words.  [default: Pillow's or the system's]")
@_margin_options(dilate=3, feather=1)
@_method_option
@_pipeline_options
def edit_text(
    images: tuple[str, ...],
    source: str,
    find: str | None,
    replace: str | None,
    font: str | None,
    method: str,
    **given: Any,
) -> int:
    """Remove text, or put other words in its place.

    \b
    samovar inpaint edit-text sign.jpg --find closed
    samovar inpaint edit-text sign.jpg --find closed --replace open
    """  # fmt: skip
    from samovar.loading import load, open_source
    from samovar_adapters.inpaint.files import fading_too, paint_files
    from samovar_adapters.inpaint.text import edit_text as job
    from samovar_adapters.inpaint.text import font_for, text_masks

    if given["pipeline"] and replace:  # the model writes the words itself
        given["prompt"], replace = given["prompt"] or f'text that says "{replace}"', None
    if replace:
        font_for(replace, font)  # before anything is looked for
    inpainter, margins, finder = _inpainter_of(given, method), _margins_of(given), open_source(source)
    return paint_files(
        load(cache="off"),
        images,
        "text",
        lambda item, image: text_masks(image, finder, find),
        fading_too(lambda image, masks, filler: job(image, masks, replace, filler, margins, font), inpainter),
        **given,
    )


def _run(images: tuple[str, ...], what: str, paint: Paint, given: dict[str, Any]) -> int:
    """Segment and paint every image, and return the exit status."""
    from samovar.loading import load
    from samovar_adapters.inpaint.files import paint_files, selected

    runtime = load(given.pop("model"), **{name: given.pop(name) for name in _LOADING})
    prompts: PromptArguments = given.pop("prompts")
    masks_of = selected(runtime, prompts, given.pop("source"))
    return paint_files(runtime, images, what, masks_of, paint, **{name: given.pop(name) for name in _FILES})
