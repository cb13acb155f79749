"""Options that several commands share, defined once, and the values that they stand for.

A command takes a group of options by its decorator. Groups whose values belong together arrive as one argument:
`prompt_options` as `prompts`, `output_options` as `outputs`. The others arrive as `samovar.load` takes them.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from samovar.errors import InputError

if TYPE_CHECKING:
    from samovar.masks import Masks
    from samovar.prompts import Prompts
    from samovar.protocols import MaskSink

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older clicks cannot subscript it

__all__ = [
    "BOX",
    "POINT",
    "SETTING",
    "SINK",
    "OutputArguments",
    "PromptArguments",
    "convert_option",
    "images_argument",
    "json_option",
    "mask_options",
    "model_options",
    "number",
    "output_options",
    "prompt_options",
    "quiet_option",
    "resume_option",
    "scored",
    "source_option",
    "with_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])


# ------------------------------------------------------------------------------------------- values


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


def _complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from samovar.plugins import list_segmenters

    names = [name for spec in list_segmenters() if (name := spec.name).startswith(incomplete)]
    # What no model is called may be the beginning of a checkpoint's path.
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def _complete_source(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from samovar.plugins import list_prompt_sources

    return [spec.name for spec in list_prompt_sources() if spec.name.startswith(incomplete)]


def _complete_sink(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from samovar.plugins import list_mask_sinks

    return [spec.name for spec in list_mask_sinks() if spec.name.startswith(incomplete)]


def with_options(command: Command, options: Sequence[Callable[[Any], Any]]) -> Command:
    """`command` with these options, which its help shows in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def _gathered(
    name: str, make: Callable[..., Any], keys: Sequence[str], options: Sequence[Callable[[Any], Any]]
) -> Callable[[Command], Command]:
    """A decorator: the command takes `options` and is given their values `keys` as one argument, `make(**values)`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            value = make(**{key: given.pop(key) for key in keys})
            return command(*args, **{name: value}, **given)

        return with_options(call, options)  # type: ignore[return-value]

    return decorate


# ------------------------------------------------------------------------------------------- what runs

# Not checked to exist: it may be a URL or a pattern, and a bad one must not hide the others. The type completes names.
images_argument = click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path())
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress and no summary on standard error.")


def model_options(command: Command) -> Command:
    """--model, --weights, --device, --dtype, --cache and --memory, under the names that `samovar.load` takes."""
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
    return with_options(command, options)


def _converters(converters: tuple[str, ...], lower: tuple[str, ...]) -> tuple[str, ...]:
    if lower:
        click.echo("samovar: --lower is now called --convert; the old name goes with the next release", err=True)
    return (*converters, *lower)


convert_option = _gathered(
    "converters",
    _converters,
    ("converters", "lower"),
    [
        click.option(
            "--convert", "converters", metavar="SOURCE[=ARG]", multiple=True, shell_complete=_complete_source,
            help="A prompt source that turns prompts which the model does not take into ones that it does, such as "
                 "words into boxes.",
        ),
        click.option("--lower", multiple=True, hidden=True),
    ],
)  # fmt: skip
"""--convert, under the name that `samovar.load` takes."""


# ------------------------------------------------------------------------------------------- what to segment


@dataclass(frozen=True)
class PromptArguments:
    """What the options of `prompt_options` say.

    Attributes:
        points: clicks on one object, x y in pixels and 1 (object) or 0 (background).
        boxes: x1 y1 x2 y2 in pixels, each an object.
        texts: words, each naming what to find.
        mask_file: the path of an image of an object's mask.
        prompts_file: a file as `samovar.prompt_files` reads it.
        label: what to call the objects.
    """

    points: tuple[tuple[float, float, float], ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    texts: tuple[str, ...] = ()
    mask_file: str | None = None
    prompts_file: str | None = None
    label: str | None = None

    def __bool__(self) -> bool:
        return bool(self.points or self.boxes or self.texts or self.mask_file or self.prompts_file)

    def of_images(self) -> Callable[[str], Prompts]:
        """The prompts as a function of an image's key.

        Raises:
            click.UsageError: prompts that exclude each other.
            PromptError: a file without prompts; from the function, one without prompts for that image.
        """
        from samovar.errors import PromptError
        from samovar.prompts import Prompts

        loaded = self._loaded()
        if isinstance(loaded, Prompts):
            return lambda key: loaded

        def of_image(key: str) -> Prompts:
            for name in (key, key.rpartition("/")[2]):
                if name in loaded:
                    return loaded[name]
            others = f"it has them for {len(loaded)} other images"
            raise PromptError(f"{key}: {self.prompts_file} has no prompts for it; {others}")

        return of_image

    def of_one_image(self) -> Prompts:
        """The prompts of the one image there is, such as a video's first frame. Raises as `of_images`."""
        from samovar.prompts import Prompts

        loaded = self._loaded()
        if not isinstance(loaded, Prompts):
            raise click.UsageError(f"{self.prompts_file} has prompts for several images; expected those of one")
        return loaded

    def _loaded(self) -> Prompts | dict[str, Prompts]:
        from samovar.prompts import Prompt, Prompts

        if self.prompts_file is not None:
            from samovar.prompt_files import load_prompts

            if self.points or self.boxes or self.texts or self.mask_file:
                raise click.UsageError("--prompts replaces --point, --box, --mask and --text; got both")
            return load_prompts(self.prompts_file)
        if (self.points or self.mask_file) and len(self.boxes) > 1:
            option = "--point" if self.points else "--mask"
            raise click.UsageError(f"{option} means one object, but there are several --box; use a --prompts file")
        refining: dict[str, Any] = {}
        if self.points:
            refining["points"] = [point[:2] for point in self.points]
            refining["point_labels"] = [int(point[2]) for point in self.points]
        if self.mask_file:
            from samovar.image import read_mask

            refining["mask"] = read_mask(self.mask_file)
        rows = [Prompt(box=box, label=self.label, **refining) for box in self.boxes]
        if refining and not self.boxes:
            rows.append(Prompt(label=self.label, **refining))
        return Prompts.of([*rows, *(Prompt(text=text, label=self.label or text) for text in self.texts)])


prompt_options = _gathered(
    "prompts",
    PromptArguments,
    ("points", "boxes", "texts", "mask_file", "prompts_file", "label"),
    [
        click.option(
            "--point", "-p", "points", type=POINT, multiple=True,
            help="A click on the object (,0: on the background). All points of one command mean one object.",
        ),
        click.option("--box", "-b", "boxes", type=BOX, multiple=True,
                     help="A box in pixels; each is an object of its own."),
        click.option("--mask", "mask_file", type=click.Path(), metavar="FILE",
                     help="An image of the object's mask, which is wherever it is not black."),
        click.option("--text", "-t", "texts", multiple=True, metavar="WORDS",
                     help="What to find, for models that take text or with --convert."),
        click.option("--prompts", "prompts_file", type=click.Path(), metavar="FILE",
                     help="Prompts from a .json, .npy or .npz file."),
        click.option("--label", help="What to call the objects."),
    ],
)  # fmt: skip
"""--point, --box, --mask, --text, --prompts and --label: the command is given `prompts`, a `PromptArguments`."""


def source_option(text: str, *, metavar: str = "NAME[=ARGUMENT]", **more: Any) -> Callable[[Command], Command]:
    """--source, a prompt source by its name; `text` is its help."""
    return click.option("--source", "-s", metavar=metavar, shell_complete=_complete_source, help=text, **more)


def mask_options(command: Command) -> Command:
    """--multimask and --min-score, for which see `scored`."""
    options = [
        click.option("--multimask", is_flag=True, help="Up to three masks a prompt: whole, part, sub-part."),
        click.option("--min-score", type=click.FloatRange(0, 1), metavar="S",
                     help="Leave out masks whose predicted quality is below this."),
    ]  # fmt: skip
    return with_options(command, options)


def scored(masks: Masks, min_score: float | None) -> Masks:
    """The masks that score at least `min_score`."""
    return masks if min_score is None else masks[masks.scores >= min_score]


# ------------------------------------------------------------------------------------------- where masks go


@dataclass(frozen=True)
class OutputArguments:
    """What the options of `output_options` say.

    Attributes:
        form, out: a mask sink and the path that it writes to; either may be left to `open`.
        targets: more mask sinks, each with its path.
    """

    form: str | None = None
    out: str | None = None
    targets: tuple[tuple[str, str], ...] = ()

    def open(self, images: Sequence[str], *, as_json: bool) -> tuple[dict[str, MaskSink], str | None]:
        """The sinks by name, and the paths they write to, as the summary names them.

        With `--json` alone the masks go to standard output only. Without any path, one image's masks go into a file
        named after it in the working directory; those of several images into `samovar-out`.

        Raises:
            click.UsageError: one sink twice.
            InputError: several images for one file, an unknown format, or a path that the format cannot write.
        """
        targets = list(self.targets)
        if self.form is not None or self.out is not None or not (targets or as_json):
            targets.insert(0, self._place(images))
        names = [name for name, _ in targets]
        if len(set(names)) < len(names):
            raise click.UsageError("each sink may be given once; got " + ", ".join(names))
        sinks = {name: _open_sink(name, path, images) for name, path in targets}
        return sinks, ", ".join(path for _, path in targets) or None

    def _place(self, images: Sequence[str]) -> tuple[str, str]:
        """`--format` and `--out`, with what was left out."""
        from samovar.pipeline import key_of_one
        from samovar.plugins import find_mask_sink

        if self.out is not None:
            return self.form or _format_of(self.out), self.out
        name = self.form or "overlay"
        spec = find_mask_sink(name)
        only = key_of_one(images)
        if only is not None and (spec.suffix or spec.item_suffix):
            return name, f"{PurePosixPath(only).stem}.{name}{spec.suffix or spec.item_suffix}"
        return name, f"samovar-out{spec.suffix}"


def _is_file(path: str) -> bool:
    """Whether what is to be written looks like a file: it ends as the files of a mask sink do, or as images."""
    from samovar.plugins import list_mask_sinks

    written = {suffix for spec in list_mask_sinks() for suffix in (spec.suffix, spec.item_suffix)}
    # By os.path, which says no to what no file system would take.
    return Path(path).suffix.lower() in written - {"", None} | _IMAGE_FILES and not os.path.isdir(path)  # noqa: PTH112


def _format_of(out: str) -> str:
    """The mask sink whose files end as `out` does; overlay for a folder. Raises InputError for a file of none."""
    from samovar.plugins import list_mask_sinks

    if not _is_file(out):
        return "overlay"
    suffix, specs = Path(out).suffix.lower(), list_mask_sinks()
    each = [spec.name for spec in specs if spec.item_suffix == suffix]
    fitting = [spec.name for spec in specs if spec.suffix == suffix] or each
    if len(fitting) != 1 and "overlay" not in fitting:
        known = f"{', '.join(fitting)} do" if fitting else "none does"
        raise InputError(f"expected a file that one format writes; got {out!r}, which {known}; say --format NAME")
    return "overlay" if "overlay" in fitting else fitting[0]


def _open_sink(name: str, path: str, images: Sequence[str]) -> MaskSink:
    from samovar.pipeline import key_of_one
    from samovar.plugins import find_mask_sink, resolve

    spec = find_mask_sink(name)
    suffix, own = Path(path).suffix.lower(), (spec.suffix, spec.item_suffix)
    if suffix not in own and _is_file(path):
        kinds = " or ".join(f"a {one} file" for one in own if one) or "a folder"
        raise InputError(f"{name} writes {kinds}; got {path!r}; name one, or choose another format")
    if spec.item_suffix and suffix == spec.item_suffix and key_of_one(images) is None:
        raise InputError(f"{path!r} is the file of one image; for several, name a folder")
    sink: MaskSink = resolve(spec)(path)
    return sink


_IMAGE_FILES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
resume_option = click.option("--resume", is_flag=True, help="Skip the images that the output already has.")
output_options = _gathered(
    "outputs",
    OutputArguments,
    ("form", "out", "targets"),
    [
    click.option(
        "--format", "-f", "form", metavar="NAME", shell_complete=_complete_sink,
        help="overlay, coco, png … (`samovar plugins` lists them as mask sinks).  [default: overlay; none with --json]",
    ),
    click.option("--out", "-o", type=click.Path(), metavar="PATH",
                 help="A file or a folder. Its suffix says the format where there is no --format, as .json does."),
    click.option(
        "--sink", "-k", "targets", type=SINK, multiple=True, metavar="NAME=PATH", shell_complete=_complete_sink,
        help="Where the masks go, such as coco=masks.json or overlay=pictures/. Several may be given.",
    ),
    ],
)  # fmt: skip
"""--format, --out and --sink: the command is given `outputs`, an `OutputArguments`."""
