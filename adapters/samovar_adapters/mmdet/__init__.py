"""MMDetection: masks for any detector by one hook, and any detector as a source of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy
from samovar.plugins import PromptSourceSpec, hookimpl

if TYPE_CHECKING:
    from samovar_adapters.mmdet.hook import SamovarMaskHook, with_masks
    from samovar_adapters.mmdet.masker import Masker, MaskOptions

_HOME = {"MaskOptions": "masker", "Masker": "masker", "SamovarMaskHook": "hook", "with_masks": "hook"}

__all__ = ["MaskOptions", "Masker", "SamovarMaskHook", "with_masks"]

__getattr__ = lazy(__name__, _HOME)


@hookimpl
def register_prompt_sources() -> tuple[PromptSourceSpec, ...]:
    """Predicted boxes."""
    return (
        PromptSourceSpec(
            "mmdet",
            "samovar_adapters.mmdet.source:DetectorBoxes",
            "boxes of any MMDetection detector, open-vocabulary ones included",
            produces=("box",),
            converts=("text",),
            extra="mmdet",
            argument="CONFIG[,CHECKPOINT][,text=WORDS][,score_thr=0.3][,device=cuda]",
        ),
    )
