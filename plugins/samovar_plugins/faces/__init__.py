"""Faces as prompts, by the detector that comes with OpenCV."""

from __future__ import annotations

from samovar.plugins import PromptSourceSpec, hookimpl

__all__ = ["register_prompt_sources"]


@hookimpl
def register_prompt_sources() -> tuple[PromptSourceSpec, ...]:
    """Boxes around faces."""
    return (
        PromptSourceSpec(
            "faces",
            "samovar_plugins.faces.haar:HaarFaces",
            "boxes around faces, by OpenCV's Haar cascades",
            produces=("box",),
            licence="BSD-3-Clause (Intel License Agreement for OpenCV)",
            argument="[CASCADE.xml]",
        ),
    )
