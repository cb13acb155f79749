"""Text in images as prompts, by the OCR engines that people have, and the mask that removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samovar.plugins import PromptSourceSpec, hookimpl

if TYPE_CHECKING:
    from samovar_adapters.text import TextLine, text_mask, to_prompts

__all__ = ["TextLine", "text_mask", "to_prompts"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from samovar_adapters import text  # on first use: listing plugins imports this package

    return getattr(text, name)


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
