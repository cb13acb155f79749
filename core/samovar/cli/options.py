"""Options that several commands share, and the values they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from samovar.errors import InputError

__all__ = [
    "BOX",
    "POINT",
    "SETTING",
    "SINK",
    "complete_format",
    "complete_source",
    "images_argument",
    "json_option",
    "model_options",
    "number",
    "output_options",
    "quiet_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older clicks cannot subscript it


class _Numbers(_ParamType):
    """Comma-separated finite numbers."""

    def __init__(self, name: str, counts: tuple[int, ...]) -> None:
        self.name = name
        self.counts = counts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"expected {self.name}; got {value!r}", param, ctx)
        if len(numbers) not in self.counts or not all(map(math.isfinite, numbers)):
            self.fail(f"expected {self.name} as finite numbers; got {value!r}", param, ctx)
        return numbers


class _Point(_Numbers):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        x, y, *label = super().convert(value, param, ctx)
        if label and label[0] not in (0, 1):
            self.fail(f"expected a third number 1 (object) or 0 (background); got {value!r}", param, ctx)
        return x, y, label[0] if label else 1.0


class _Box(_Numbers):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        x1, y1, x2, y2 = super().convert(value, param, ctx)
        if x2 <= x1 or y2 <= y1:
            self.fail(f"expected x1 < x2 and y1 < y2; got {value!r}", param, ctx)
        return x1, y1, x2, y2


class _Pair(_ParamType):
    """A name and what it stands for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, rest = str(value).partition("=")
        if not key or not equals or not rest:
            self.fail(f"expected {self.name}; got {value!r}", param, ctx)
        return key, rest


POINT = _Point("X,Y[,0|1]", (2, 3))
BOX = _Box("X1,Y1,X2,Y2", (4,))
SETTING = _Pair("NAME=VALUE")
SINK = _Pair("NAME=PATH")


def _complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from samovar.plugins import list_segmenters

    names = [name for spec in list_segmenters() if (name := spec.name).startswith(incomplete)]
    # What no model is called may be the beginning of a checkpoint's path.
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def complete_source(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of prompt sources."""
    from samovar.plugins import list_prompt_sources

    return [spec.name for spec in list_prompt_sources() if spec.name.startswith(incomplete)]


def complete_format(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of mask sinks."""
    from samovar.plugins import list_mask_sinks

    return [spec.name for spec in list_mask_sinks() if spec.name.startswith(incomplete)]


def model_options(command: Command) -> Command:
    """--model, --weights, --device, --dtype, --cache and --memory: what `samovar.load` takes."""
    options = [
        click.option(
            "--model", "-m", default="default", show_default=True, metavar="NAME|PATH", shell_complete=_complete_model,
            help="A model (see `samovar models`) or a checkpoint file.",
        ),
        click.option("--weights", type=click.Path(), metavar="PATH|ID",
                     help="Weights for that model instead of the published ones."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."),
        click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16."),
        click.option("--cache", type=click.Path(), default="auto", show_default=True, metavar="auto|off|DIR",
                     help="Where embeddings are kept."),
        click.option("--memory", metavar="SIZE", help="Memory that decoding may use, such as 512MB.  [default: 1GiB]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def output_options(command: Command) -> Command:
    """--format, --out and --resume: where one command's masks go."""
    command = click.option("--resume", is_flag=True, help="Skip the images that the output already has.")(command)
    command = click.option(
        "--out", "-o", type=click.Path(), metavar="PATH", help="A file or a folder, as the format has it."
    )(command)
    return click.option(
        "--format", "-f", "form", metavar="NAME", shell_complete=complete_format,
        help="overlay, coco, png … (`samovar plugins` lists them as mask sinks).  [default: overlay; none with --json]",
    )(command)  # fmt: skip


# Not checked to exist: it may be a URL or a pattern, and a bad one must not hide the others. The type completes names.
images_argument = click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path())
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress and no summary on standard error.")


def number(name: str, text: str) -> int | float:
    """The value of a numeric setting `name`. Raises InputError when it is no number."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} must be a number; got {text!r}") from None
