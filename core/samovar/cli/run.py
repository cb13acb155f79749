"""`samovar run`: prompts from a source, masks to sinks, over whole folders."""

from __future__ import annotations

from typing import Any

import click

from samovar.cli.options import SINK, complete_format, complete_source, json_option, model_options, quiet_option

__all__ = ["run"]


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option(
    "--source",
    "-s",
    metavar="NAME[=ARGUMENT]",
    shell_complete=complete_source,
    help="Where the prompts come from, such as faces or coco-boxes=ann.json. Without it: every object.",
)
@click.option(
    "--sink",
    "-k",
    "targets",
    type=SINK,
    multiple=True,
    required=True,
    metavar="NAME=PATH",
    shell_complete=complete_format,
    help="Where the masks go, such as coco=masks.json or overlay=pictures/. Several may be given.",
)
@click.option("--multimask", is_flag=True, help="Up to three masks a prompt: whole, part, sub-part.")
@model_options
@json_option
@quiet_option
def run(
    paths: tuple[str, ...],
    source: str | None,
    targets: tuple[tuple[str, str], ...],
    multimask: bool,
    as_json: bool,
    quiet: bool,
    **loading: Any,
) -> int:
    """A pipeline over files, folders and globs, with progress and resume.

    Images that every sink already has are skipped, so the same command goes on after a kill. A bad file is named and
    the rest are done.

    \b
    samovar run photos/ --source faces --sink coco=faces.json --sink overlay=pictures/
    samovar run photos/ --source coco-boxes=boxes.json --sink coco=masks.json
    """
    from samovar.cli.job import perform
    from samovar.cli.outputs import open_sink
    from samovar.image import Image
    from samovar.loading import load, open_source
    from samovar.masks import Masks
    from samovar.worklist import Item

    names = [name for name, _ in targets]
    if len(set(names)) < len(names):
        raise click.UsageError("each --sink may be given once; got " + ", ".join(names))
    prompts = open_source(source) if source else None
    runtime = load(loading.pop("model"), **loading)

    def segment(item: Item, image: Image) -> Masks:
        if prompts is None:
            return runtime.segment_all(image)
        return runtime.segment(image, prompts.prompts([image])[0], multimask=multimask)

    return perform(
        runtime,
        paths,
        segment,
        {name: open_sink(name, path, paths) for name, path in targets},
        source=prompts,
        where=", ".join(path for _, path in targets),
        resume=True,
        as_json=as_json,
        quiet=quiet,
    )
