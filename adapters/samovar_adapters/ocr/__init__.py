"""Text in images as prompts, by the OCR engines that people have, and the mask that removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_adapters.text import TextLine, text_mask, to_prompts

__all__ = ["TextLine", "text_mask", "to_prompts"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from samovar_adapters import text  # on first use: listing plugins imports this package

    return getattr(text, name)
