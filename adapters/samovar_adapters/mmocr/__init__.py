"""MMOCR: its polygons and strings as prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy
from samovar.plugins import PromptSourceSpec, hookimpl

if TYPE_CHECKING:
    from samovar_adapters.mmocr.source import lines_of

_HOME = {"lines_of": "source"}

__all__ = ["lines_of"]

__getattr__ = lazy(__name__, _HOME)


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
