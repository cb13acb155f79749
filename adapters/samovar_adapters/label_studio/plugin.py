"""Registers `samovar label-studio`, and Label Studio's JSON as a source and a sink. Imports nothing of them."""

from __future__ import annotations

import click

from samovar.plugins import MaskSinkSpec, PromptSourceSpec, hookimpl
from samovar.types import Kind

__all__ = ["register_commands", "register_mask_sinks", "register_prompt_sources"]

_HERE = "samovar_adapters.label_studio"


@hookimpl
def register_commands(cli: click.Group) -> None:
    """`samovar label-studio`."""
    from samovar_adapters.label_studio.routes import label_studio

    cli.add_command(label_studio)


@hookimpl
def register_mask_sinks() -> tuple[MaskSinkSpec, ...]:
    """Tasks to import."""
    summary = "one task per image, for Label Studio to import"
    return (MaskSinkSpec("label-studio", f"{_HERE}.exports:LabelStudioSink", summary, "", ".json"),)


@hookimpl
def register_prompt_sources() -> tuple[PromptSourceSpec, ...]:
    """Exports."""

    def spec(suffix: str, target: str, summary: str, *produces: Kind) -> PromptSourceSpec:
        place = f"{_HERE}.exports:{target}"
        return PromptSourceSpec(f"label-studio{suffix}", place, summary, produces, argument="EXPORT.json")

    return (
        spec("", "drawn", "a Label Studio export: as drawn, boxes or points", "box", "points"),
        spec("-boxes", "boxes", "the boxes of a Label Studio export", "box"),
        spec("-points", "points", "a Label Studio export: a point deep inside each region", "points"),
        spec("-masks", "masks", "the masks of a Label Studio export", "mask"),
    )
