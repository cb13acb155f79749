"""Registers the source of instances. Imports nothing of it."""

from __future__ import annotations

from samovar.plugins import PromptSourceSpec, hookimpl

__all__ = ["register_prompt_sources"]


@hookimpl
def register_prompt_sources() -> tuple[PromptSourceSpec, ...]:
    """Predictions of pose estimators and trackers."""
    return (
        PromptSourceSpec(
            "instances",
            "samovar_adapters.instances.prompts:InstanceFiles",
            "boxes, key points and ids that another tool wrote: MMPose's JSON files, MOT text",
            produces=("box", "points"),
            argument="FOLDER|FILE.txt",
        ),
    )
