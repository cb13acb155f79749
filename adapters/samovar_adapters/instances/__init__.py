"""Whatever other tools say of people and things in a picture (boxes, key points, ids) as prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.instances.columns import Columns
    from samovar_adapters.instances.prompts import to_prompts

_HOME = {"Columns": "columns", "to_prompts": "prompts"}

__all__ = ["Columns", "to_prompts"]

__getattr__ = lazy(__name__, _HOME)
