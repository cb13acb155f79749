"""The options that say what to segment, and the prompts they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samovar.cli.options import BOX, POINT

if TYPE_CHECKING:
    from samovar.prompts import Prompts

__all__ = ["chosen_prompts", "prompt_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def prompt_options(command: Command) -> Command:
    """--point, --box, --text, --prompts and --label: what `chosen_prompts` takes."""
    options = [
        click.option(
            "--point", "-p", "points", type=POINT, multiple=True,
            help="A click on the object (,0: on the background). All points of one command mean one object.",
        ),
        click.option("--box", "-b", "boxes", type=BOX, multiple=True,
                     help="A box in pixels; each is an object of its own."),
        click.option("--text", "-t", "texts", multiple=True, metavar="WORDS",
                     help="What to find, for models that take text."),
        click.option("--prompts", "prompts_file", type=click.Path(), metavar="FILE",
                     help="Prompts from a .json, .npy or .npz file."),
        click.option("--label", help="What to call the objects."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def chosen_prompts(
    points: Sequence[tuple[float, float, float]],
    boxes: Sequence[tuple[float, float, float, float]],
    texts: Sequence[str],
    prompts_file: str | None,
    label: str | None,
    otherwise: str,
) -> Callable[[str], Prompts]:
    """The prompts of the command line as a function of an image's key.

    Args:
        otherwise: what the command takes instead of prompts, for the message when there are none.

    Raises:
        click.UsageError: no prompts, or ones that exclude each other.
        PromptError: a file without prompts; from the function, one without prompts for that image.
    """
    if prompts_file is not None and (points or boxes or texts):
        raise click.UsageError("--prompts replaces --point, --box and --text; got both")
    if prompts_file is None and not (points or boxes or texts):
        raise click.UsageError(f"nothing to segment: give --point, --box, --text or --prompts, or {otherwise}")
    if points and len(boxes) > 1:
        raise click.UsageError("--point refines one object, but there are several --box; use a --prompts file")
    return _from_file(prompts_file) if prompts_file else _same(points, boxes, texts, label)


def _same(
    points: Sequence[tuple[float, float, float]],
    boxes: Sequence[tuple[float, float, float, float]],
    texts: Sequence[str],
    label: str | None,
) -> Callable[[str], Prompts]:
    """The prompts of the command line, for whichever image."""
    from samovar.prompts import Prompt, Prompts

    clicks: dict[str, Any] = {}
    if points:
        clicks = {"points": [point[:2] for point in points], "point_labels": [int(point[2]) for point in points]}
    rows = [Prompt(box=box, label=label, **clicks) for box in boxes]
    if points and not boxes:
        rows.append(Prompt(label=label, **clicks))
    rows += [Prompt(text=text, label=label or text) for text in texts]
    prompts = Prompts.of(rows)
    return lambda key: prompts


def _from_file(path: str) -> Callable[[str], Prompts]:
    """The prompts of a file: the same for every image, or each image's own."""
    from samovar.errors import PromptError
    from samovar.prompt_files import load_prompts
    from samovar.prompts import Prompts

    loaded = load_prompts(path)
    if isinstance(loaded, Prompts):
        return lambda key: loaded

    def of_image(key: str) -> Prompts:
        for name in (key, key.rpartition("/")[2]):
            if name in loaded:
                return loaded[name]
        raise PromptError(f"{key}: {path} has no prompts for it; it has them for {len(loaded)} other images")

    return of_image
