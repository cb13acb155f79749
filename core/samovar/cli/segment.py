"""`samovar segment`, `auto` and `run`: masks for prompts, of every object, and of what a source finds."""

from __future__ import annotations

from typing import Any

import click

from samovar.cli.options import (
    SETTING,
    OutputArguments,
    PromptArguments,
    convert_option,
    images_argument,
    json_option,
    mask_options,
    model_options,
    number,
    output_options,
    prompt_options,
    quiet_option,
    resume_option,
    scored,
    source_option,
)

__all__ = ["auto", "run", "segment"]


@click.command()
@images_argument
@prompt_options
@convert_option
@mask_options
@output_options
@resume_option
@model_options
@json_option
@quiet_option
def segment(
    images: tuple[str, ...],
    prompts: PromptArguments,
    multimask: bool,
    min_score: float | None,
    outputs: OutputArguments,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **loading: Any,
) -> int:
    """Masks for points, boxes, masks or words on one or more images (files, folders, globs, URLs).

    \b
    samovar segment street.jpg --box 12,30,410,380 --label bus
    samovar segment street.jpg --point 200,180 --point 40,40,0 --format coco --out bus.json
    """
    from samovar.cli.job import load_model, run_job

    if not prompts:
        ways = "give --point, --box, --mask, --text or --prompts"
        raise click.UsageError(f"nothing to segment: {ways}, or use `samovar auto`")
    prompts_of = prompts.of_images()
    runtime = load_model(loading, quiet=quiet)
    return run_job(
        runtime,
        images,
        lambda item, image: scored(runtime.segment(image, prompts_of(item.key), multimask=multimask), min_score),
        *outputs.open(images, as_json=as_json),
        resume=resume,
        as_json=as_json,
        quiet=quiet,
    )


@click.command()
@images_argument
@click.option("--points-per-side", type=click.IntRange(1, 512), help="Points along each side of the grid.")
@click.option("--crop-n-layers", type=click.IntRange(0, 4), help="Layers of crops to look at as well.")
@click.option("--min-mask-region-area", type=click.IntRange(0), help="Fill holes and drop islands below this area.")
@click.option(
    "--set",
    "settings",
    type=SETTING,
    multiple=True,
    help="Any other parameter of SAM's automatic generator, such as pred_iou_thresh=0.9.",
)
@output_options
@resume_option
@model_options
@json_option
@quiet_option
def auto(
    images: tuple[str, ...],
    settings: tuple[tuple[str, str], ...],
    outputs: OutputArguments,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Masks of every object in one or more images (files, folders, globs, URLs).

    \b
    samovar auto street.jpg
    samovar auto photos/ --format coco --out objects.json --set box_nms_thresh=0.6
    """
    from samovar.automatic import AutomaticOptions
    from samovar.cli.job import load_model, run_job

    named = ("points_per_side", "crop_n_layers", "min_mask_region_area")
    parameters: dict[str, Any] = {name: value for name in named if (value := options.pop(name)) is not None}
    parameters |= {name: number(name, text) for name, text in settings}
    AutomaticOptions().override(parameters)  # a wrong name or value is refused before any model is loaded
    runtime = load_model(options, quiet=quiet)
    return run_job(
        runtime,
        images,
        lambda item, image: runtime.segment_all(image, **parameters),
        *outputs.open(images, as_json=as_json),
        resume=resume,
        as_json=as_json,
        quiet=quiet,
    )


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@source_option(
    "Where the prompts come from, such as faces or coco-boxes=ann.json. Without it and without prompts: every object."
)
@prompt_options
@convert_option
@mask_options
@output_options
@model_options
@json_option
@quiet_option
def run(
    paths: tuple[str, ...],
    source: str | None,
    prompts: PromptArguments,
    multimask: bool,
    min_score: float | None,
    outputs: OutputArguments,
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
    from samovar.cli.job import load_model, run_job
    from samovar.image import Image
    from samovar.loading import open_source
    from samovar.masks import Masks
    from samovar.pipeline import Item

    if not (outputs.targets or outputs.form or outputs.out or as_json):
        raise click.UsageError("Missing option '--sink' (or --format, --out, --json): say where the masks go")
    if source and prompts:
        raise click.UsageError("--source replaces --point, --box, --mask, --text and --prompts; got both")
    finder = open_source(source) if source else None
    prompts_of = prompts.of_images() if prompts else None
    runtime = load_model(loading, quiet=quiet)

    def segment(item: Item, image: Image) -> Masks:
        if finder is not None:
            return scored(runtime.segment(image, finder.prompts([image])[0], multimask=multimask), min_score)
        if prompts_of is not None:
            return scored(runtime.segment(image, prompts_of(item.key), multimask=multimask), min_score)
        return scored(runtime.segment_all(image), min_score)

    sinks, where = outputs.open(paths, as_json=as_json)
    return run_job(runtime, paths, segment, sinks, where, source=finder, resume=True, as_json=as_json, quiet=quiet)
