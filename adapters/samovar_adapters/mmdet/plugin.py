"""Registers MMDetection's detectors. Imports nothing of them."""

from __future__ import annotations

from samovar.plugins import PromptSourceSpec, hookimpl

__all__ = ["register_prompt_sources"]


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
