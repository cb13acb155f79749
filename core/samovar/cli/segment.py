"""`samovar segment`: masks for the prompts on the command line or in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from samovar.cli.options import BOX, POINT, json_option, model_options, output_options, quiet_option

if TYPE_CHECKING:
    from samovar.prompts import Prompts

__all__ = ["segment"]


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--point",
    "-p",
    "points",
    type=POINT,
    multiple=True,
    help="A click on the object (,0: on the background). All points of one command mean one object.",
)
@click.option("--box", "-b", "boxes", type=BOX, multiple=True, help="A box in pixels; each is an object of its own.")
@click.option("--text", "-t", "texts", multiple=True, metavar="WORDS", help="What to find, for models that take text.")
@click.option("--prompts", "prompts_file", metavar="FILE", help="Prompts from a .json, .npy or .npz file.")
@click.option("--label", help="What to call the objects.")
@click.option("--multimask", is_flag=True, help="Up to three masks a prompt: whole, part, sub-part.")
@output_options
@model_options
@json_option
@quiet_option
def segment(
    images: tuple[str, ...],
    points: tuple[tuple[float, float, float], ...],
    boxes: tuple[tuple[float, float, float, float], ...],
    texts: tuple[str, ...],
    prompts_file: str | None,
    label: str | None,
    multimask: bool,
    form: str | None,
    out: str | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **loading: Any,
) -> int:
    """Masks for points, boxes or words on one or more images (files, folders, globs).

    \b
    samovar segment street.jpg --box 12,30,410,380 --label bus
    samovar segment street.jpg --point 200,180 --point 40,40,0 --format coco --out bus.json
    """
    if prompts_file is not None and (points or boxes or texts):
        raise click.UsageError("--prompts replaces --point, --box and --text; got both")
    if prompts_file is None and not (points or boxes or texts):
        raise click.UsageError("nothing to segment: give --point, --box, --text or --prompts, or use `samovar auto`")
    if points and len(boxes) > 1:
        raise click.UsageError("--point refines one object, but there are several --box; use a --prompts file")

    from samovar.cli.job import perform
    from samovar.cli.outputs import open_outputs
    from samovar.loading import load

    prompts_for = _from_file(prompts_file) if prompts_file else _same(points, boxes, texts, label)
    runtime = load(loading.pop("model"), **loading)
    sinks, where = open_outputs(form, out, images, as_json=as_json)
    return perform(
        runtime,
        images,
        lambda item, image: runtime.segment(image, prompts_for(item.key), multimask=multimask),
        sinks,
        where=where,
        resume=resume,
        as_json=as_json,
        quiet=quiet,
    )


def _same(
    points: tuple[tuple[float, float, float], ...],
    boxes: tuple[tuple[float, float, float, float], ...],
    texts: tuple[str, ...],
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
