"""What is to be segmented in each image: by the prompts of the command line, a prompt source or a mask file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from samovar.cli.options import PromptArguments
from samovar.image import Image, read_mask
from samovar.loading import open_source
from samovar.masks import Masks
from samovar.pipeline import Item
from samovar.runtime import Runtime
from samovar_adapters.inpaint.masks import as_masks

__all__ = ["selected"]


def selected(runtime: Runtime, *, prompts: PromptArguments, source: str | None) -> Callable[[Item, Image], Masks]:
    """The masks of an image, as `job_options` say. A mask file by itself is the answer, and no model is asked.

    Raises:
        click.UsageError: nothing to segment, or two ways of saying it.
        InputError: a mask file or a source that cannot be used.
    """
    others = bool(replace(prompts, mask_file=None)) + bool(source)
    if others + bool(prompts.mask_file) > 1:
        raise click.UsageError("give prompts, --source or --mask; got more than one of them")
    if source:
        finder = open_source(source)
        return lambda item, image: runtime.segment(image, finder.prompts([image])[0])
    if not prompts:
        ways = "give --point, --box, --text or --prompts, or --source or --mask"
        raise click.UsageError(f"nothing to segment: {ways}")
    if prompts.mask_file:
        mask = read_mask(prompts.mask_file)
        return lambda item, image: as_masks(mask, image.width, image.height)
    prompts_of = prompts.of_images()
    return lambda item, image: runtime.segment(image, prompts_of(item.key))
