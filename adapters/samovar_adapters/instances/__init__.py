"""Whatever other tools say of people and things in an image (boxes, key points, ids) as prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.instances.prompts import Columns, to_prompts

_HOME = {"Columns": "prompts", "to_prompts": "prompts"}

__all__ = ["Columns", "to_prompts"]

__getattr__ = lazy(__name__, _HOME)
