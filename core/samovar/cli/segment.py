"""`samovar segment`: masks for the prompts on the command line or in a file."""

from __future__ import annotations

from typing import Any

import click

from samovar.cli.options import (
    complete_source,
    images_argument,
    json_option,
    model_options,
    output_options,
    quiet_option,
)
from samovar.cli.prompts import chosen_prompts, prompt_options

__all__ = ["segment"]


@click.command()
@images_argument
@prompt_options
@click.option(
    "--lower",
    "lowering",
    metavar="NAME[=ARGUMENT]",
    multiple=True,
    shell_complete=complete_source,
    help="A source that turns prompts which the model does not take into ones that it does: words into boxes, say.",
)
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
    lowering: tuple[str, ...],
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
    from samovar.cli.job import perform
    from samovar.cli.outputs import open_outputs
    from samovar.loading import load

    prompts_for = chosen_prompts(points, boxes, texts, prompts_file, label, "use `samovar auto`")
    runtime = load(loading.pop("model"), lowering=lowering, **loading)
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
