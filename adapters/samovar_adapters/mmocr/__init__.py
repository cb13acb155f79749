"""MMOCR: its polygons and strings as prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.mmocr.source import lines_of

_HOME = {"lines_of": "source"}

__all__ = ["lines_of"]

__getattr__ = lazy(__name__, _HOME)
