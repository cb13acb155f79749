"""`samovar auto`: every object."""

from __future__ import annotations

from typing import Any

import click

from samovar.cli.options import (
    SETTING,
    images_argument,
    json_option,
    model_options,
    number,
    output_options,
    quiet_option,
)

__all__ = ["auto"]


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
@model_options
@json_option
@quiet_option
def auto(
    images: tuple[str, ...],
    settings: tuple[tuple[str, str], ...],
    form: str | None,
    out: str | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Masks of every object in one or more images (files, folders, globs).

    \b
    samovar auto street.jpg
    samovar auto photos/ --format coco --out objects.json --set box_nms_thresh=0.6
    """
    from samovar.automatic import AutomaticOptions
    from samovar.cli.job import perform
    from samovar.cli.outputs import open_outputs
    from samovar.loading import load

    named = ("points_per_side", "crop_n_layers", "min_mask_region_area")
    parameters: dict[str, Any] = {name: value for name in named if (value := options.pop(name)) is not None}
    parameters |= {name: number(name, text) for name, text in settings}
    AutomaticOptions().override(parameters)  # a wrong name or value is refused before any model is loaded
    runtime = load(options.pop("model"), **options)
    sinks, where = open_outputs(form, out, images, as_json=as_json)
    return perform(
        runtime,
        images,
        lambda item, image: runtime.segment_all(image, **parameters),
        sinks,
        where=where,
        resume=resume,
        as_json=as_json,
        quiet=quiet,
    )
