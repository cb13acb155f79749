"""Whatever other tools say of people and things in an image (boxes, key points, ids) as prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy
from samovar.plugins import PromptSourceSpec, hookimpl

if TYPE_CHECKING:
    from samovar_adapters.instances.prompts import Columns, to_prompts

_HOME = {"Columns": "prompts", "to_prompts": "prompts"}

__all__ = ["Columns", "to_prompts"]

__getattr__ = lazy(__name__, _HOME)


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
