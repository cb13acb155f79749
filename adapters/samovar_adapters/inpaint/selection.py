"""What is to be segmented in each image: by the prompts of the command line, a prompt source or a mask file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from samovar.cli.prompts import chosen_prompts
from samovar.image import Image
from samovar.image.mask_file import read_mask
from samovar.loading import open_source
from samovar.masks import Masks
from samovar.runtime import Runtime
from samovar.worklist import Item
from samovar_adapters.inpaint.masks import as_masks

__all__ = ["selected"]


def selected(
    runtime: Runtime,
    *,
    points: Sequence[tuple[float, float, float]],
    boxes: Sequence[tuple[float, float, float, float]],
    texts: Sequence[str],
    prompts_file: str | None,
    label: str | None,
    source: str | None,
    mask_file: str | None,
) -> Callable[[Item, Image], Masks]:
    """The masks of an image, as `job_options` say.

    Raises:
        click.UsageError: nothing to segment, or two ways of saying it.
        InputError: a mask file or a source that cannot be used.
    """
    prompted = bool(points or boxes or texts or prompts_file)
    if prompted + bool(source) + bool(mask_file) > 1:
        raise click.UsageError("give prompts, --source or --mask; got more than one of them")
    if mask_file:
        mask = read_mask(mask_file)
        return lambda item, image: as_masks(mask, image.width, image.height)
    if source:
        finder = open_source(source)
        return lambda item, image: runtime.segment(image, finder.prompts([image])[0])
    prompts_for = chosen_prompts(points, boxes, texts, prompts_file, label, "--source or --mask")
    return lambda item, image: runtime.segment(image, prompts_for(item.key))
