"""Options that the `samovar inpaint` commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samovar.cli.options import json_option, model_options, quiet_option
from samovar.cli.prompts import prompt_options

if TYPE_CHECKING:
    from samovar_adapters.inpaint.repaint import Edges

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older clicks cannot subscript it

__all__ = ["OFFSET", "edge_options", "edges_of", "job_options", "painter_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


class _Offset(_ParamType):
    name = "X,Y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            x, y = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"expected X,Y in whole pixels; got {value!r}", param, ctx)
        return x, y


OFFSET = _Offset()


def job_options(command: Command) -> Command:
    """IMAGE..., what to segment in them, where the pictures go, and the model."""
    options = [
        click.argument("images", nargs=-1, required=True, metavar="IMAGE..."),
        prompt_options,
        click.option("--source", "-s", metavar="NAME[=ARGUMENT]", help="A prompt source that finds it, such as faces."),
        click.option("--mask", "mask_file", metavar="FILE", help="A picture of the mask: white is the object."),
        click.option("--out", "-o", metavar="PATH", help="A .png file, or a folder for several images."),
        click.option("--resume", is_flag=True, help="Skip the images that the output already has."),
        model_options,
        json_option,
        quiet_option,
    ]
    return _with(command, options)


def edge_options(command: Command) -> Command:
    """--dilate, --feather, --padding and --each."""
    options = [
        click.option("--dilate", type=float, default=6, show_default=True, help="Pixels that masks grow by."),
        click.option("--feather", type=float, default=2, show_default=True,
                     help="Pixels over which the new picture fades into the old one."),
        click.option("--padding", type=int, help="Pixels around the mask that count.  [default: half its size]"),
        click.option("--each", is_flag=True, help="Repaint mask by mask instead of all at once."),
    ]  # fmt: skip
    return _with(command, options)


def painter_options(command: Command) -> Command:
    """--method: what fills the holes."""
    return click.option(
        "--method", type=click.Choice(["telea", "navier-stokes"]), default="telea", show_default=True,
        help="How OpenCV fills the hole.",
    )(command)  # fmt: skip


def edges_of(given: dict[str, Any]) -> Edges:
    """The values of `edge_options`, taken out of `given`."""
    from samovar_adapters.inpaint.repaint import Edges

    return Edges(**{name: given.pop(name) for name in ("dilate", "feather", "padding", "each")})


def _with(command: Command, options: Sequence[Callable[[Any], Any]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
