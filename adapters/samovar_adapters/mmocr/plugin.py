"""Registers MMOCR. Imports nothing of it."""

from __future__ import annotations

from samovar.plugins import PromptSourceSpec, hookimpl

__all__ = ["register_prompt_sources"]


@hookimpl
def register_prompt_sources() -> tuple[PromptSourceSpec, ...]:
    """Text of any shape."""
    return (
        PromptSourceSpec(
            "mmocr",
            "samovar_adapters.mmocr.source:MmocrText",
            "text of any shape, by MMOCR's detectors and recognisers",
            produces=("box", "points"),
            extra="mmocr",
            argument="DET[,REC][,det_weights=FILE][,rec_weights=FILE][,score_thr=0.3][,device=cuda]",
        ),
    )
