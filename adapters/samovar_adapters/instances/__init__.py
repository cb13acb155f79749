"""Whatever other tools say of people and things in a picture (boxes, key points, ids) as prompts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_adapters.instances.columns import Columns
    from samovar_adapters.instances.prompts import to_prompts

_HOME = {"Columns": "columns", "to_prompts": "prompts"}

__all__ = ["Columns", "to_prompts"]


def __getattr__(name: str) -> Any:
    # Listing the sources imports this package, and must stay cheap.
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
