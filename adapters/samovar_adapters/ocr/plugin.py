"""Registers the OCR engines. Imports none of them."""

from __future__ import annotations

from samovar.plugins import PromptSourceSpec, hookimpl

__all__ = ["register_prompt_sources"]


@hookimpl
def register_prompt_sources() -> tuple[PromptSourceSpec, ...]:
    """Text as a box with points along its centre line, the string as label."""
    return (
        PromptSourceSpec(
            "rapidocr",
            "samovar_adapters.ocr.rapid:RapidText",
            "text, by RapidOCR; its models come inside its package",
            produces=("box", "points"),
            extra="rapidocr",
            licence="Apache-2.0",
            argument="[lines|words|characters]",
        ),
        PromptSourceSpec(
            "tesseract",
            "samovar_adapters.ocr.tesseract:TesseractText",
            "text, by the tesseract program",
            produces=("box", "points"),
            licence="Apache-2.0",
            argument="[lines|words]",
        ),
    )
