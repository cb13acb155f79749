"""Old public names. They go on working for one release, with a DeprecationWarning that says what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

__all__ = ["renamed_keywords", "renamed_method", "renamed_names", "warn_renamed"]

Function = TypeVar("Function", bound=Callable[..., Any])


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that `old` is now called `new`; `stacklevel` as of `warnings.warn`, 3 for the caller of who calls this."""
    warnings.warn(
        f"{old} is now {new}; the old name will go in the next release", DeprecationWarning, stacklevel=stacklevel
    )


def renamed_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of `module` for names that have moved: old name → "module.name" of today."""

    def found(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", names[name])
        home, _, today = names[name].rpartition(".")
        return getattr(import_module(home), today)

    return found


def renamed_method(old: str, method: Function) -> Function:
    """`method` under its old name, in the body of its class:

    paste = renamed_method("Masks.paste", embed)
    """

    @wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        warn_renamed(f"{old}()", f"{method.__name__}()")
        return method(*args, **options)

    return call  # type: ignore[return-value]  # of the very same signature


def renamed_keywords(**names: str) -> Callable[[Function], Function]:
    """Decorates a function some of whose keywords have other names now, as `renamed_keywords(old="new")`."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            for old in names.keys() & options.keys():
                if names[old] in options:
                    raise TypeError(
                        f"{function.__qualname__}() got {old}= and {names[old]}=, which are one; drop {old}="
                    )
                warn_renamed(f"{old}=", f"{names[old]}=")
                options[names[old]] = options.pop(old)
            return function(*args, **options)

        return call  # type: ignore[return-value]  # of the very same signature

    return decorate
