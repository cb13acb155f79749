"""Text in pictures as prompts, by the OCR engines that people have, and the mask that removes it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_adapters.ocr.lines import TextLine, to_prompts
    from samovar_adapters.ocr.removal import text_mask

_HOME = {"TextLine": "lines", "text_mask": "removal", "to_prompts": "lines"}

__all__ = ["TextLine", "text_mask", "to_prompts"]


def __getattr__(name: str) -> Any:
    # Listing the sources imports this package, and must stay cheap.
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
