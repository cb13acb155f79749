"""Names of a package imported on first use: listing what is installed imports packages, and must stay cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from samovar.deprecation import warn_renamed

__all__ = ["lazy"]


def lazy(package: str, home: Mapping[str, str], renamed: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """The `__getattr__` of `package`, whose public names each live in the submodule that `home` says.

    Type checkers need the same names imported under `TYPE_CHECKING`.

    Args:
        renamed: old public names → "module.name" of today; see `samovar.deprecation`.
    """

    def found(name: str) -> Any:
        if renamed and name in renamed:
            warn_renamed(f"{package}.{name}", renamed[name])
            module, _, today = renamed[name].rpartition(".")
            return getattr(import_module(module), today)
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return found
