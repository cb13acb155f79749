"""Options that the `samovar inpaint` commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samovar.cli.options import (
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
    from samovar_adapters.inpaint.painter import Painter
    from samovar_adapters.inpaint.repainting import Edges

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older clicks cannot subscript it

__all__ = [
    "COLOUR",
    "FEATHER",
    "OFFSET",
    "edge_options",
    "edges_of",
    "file_options",
    "job_options",
    "method_option",
    "painter_of",
    "pipeline_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])

_FARTHEST = 1_000_000  # pixels, about the longest side that a picture can have


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


COLOUR = _Colour()
OFFSET = _Offset()
FEATHER = click.FloatRange(min=0, max=32767)


def job_options(command: Command) -> Command:
    """IMAGE..., what to segment in them, where the pictures go, and the model."""
    options = [
        prompt_options,
        source_option("A prompt source that finds it, such as faces."),
        convert_option,
        model_options,
    ]
    return file_options(with_options(command, options))


def file_options(command: Command) -> Command:
    """IMAGE... and where the pictures go."""
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


def edge_options(dilate: float = 6, feather: float = 2) -> Callable[[Command], Command]:
    """--dilate and --feather with these defaults, --padding and --each."""
    options = [
        click.option("--dilate", type=float, default=dilate, show_default=True, help="Pixels that masks grow by."),
        click.option("--feather", type=float, default=feather, show_default=True,
                     help="Pixels over which the new picture fades into the old one."),
        click.option("--padding", type=int, help="Pixels around the mask that count.  [default: half its size]"),
        click.option("--each", is_flag=True, help="Repaint mask by mask instead of all at once."),
    ]  # fmt: skip
    return lambda command: with_options(command, options)


def method_option(command: Command) -> Command:
    """--method: what fills the holes where no pipeline does."""
    return click.option(
        "--method", type=click.Choice(["patches", "telea", "navier-stokes"]), default="patches", show_default=True,
        help="How the hole is filled without a pipeline.",
    )(command)  # fmt: skip


def pipeline_options(command: Command) -> Command:
    """--pipeline and what it is told."""
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


def painter_of(given: dict[str, Any], method: str | None) -> Painter | None:
    """The painter that `pipeline_options` and `method_option` name, their values taken out of `given`.

    None without a pipeline and a method. The pipeline runs on the device that the model does.
    """
    names = ("negative_prompt", "num_inference_steps", "strength", "guidance_scale")
    passed = {name: value for name in names if (value := given.pop(name)) is not None}
    pipeline, prompt = given.pop("pipeline"), given.pop("prompt")
    seed, size = given.pop("seed"), given.pop("size")
    if pipeline is None:
        if prompt is not None or size is not None or passed:
            raise click.UsageError(
                "--prompt, --negative-prompt, --steps, --strength, --guidance and --size need a --pipeline"
            )
        from samovar_adapters.inpaint.classical import ClassicalPainter

        return ClassicalPainter(method) if method else None
    from samovar_adapters.diffusers import DiffusersPainter, load_pipeline

    loaded = load_pipeline(pipeline, device=given.get("device", "auto"), dtype=given.get("dtype", "auto"))
    loaded.set_progress_bar_config(disable=given["quiet"] or not sys.stderr.isatty())
    return DiffusersPainter(loaded, prompt=prompt, seed=seed, size=size, passed=passed)


def edges_of(given: dict[str, Any]) -> Edges:
    """The values of `edge_options`, taken out of `given`."""
    from samovar_adapters.inpaint.repainting import Edges

    return Edges(**{name: given.pop(name) for name in ("dilate", "feather", "padding", "each")})
