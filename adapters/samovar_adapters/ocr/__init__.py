"""Text in pictures as prompts, by the OCR engines that people have, and the mask that removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.ocr.lines import TextLine, to_prompts
    from samovar_adapters.ocr.removal import text_mask

_HOME = {"TextLine": "lines", "text_mask": "removal", "to_prompts": "lines"}

__all__ = ["TextLine", "text_mask", "to_prompts"]

__getattr__ = lazy(__name__, _HOME)
