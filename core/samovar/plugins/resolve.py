"""From a spec to the thing it describes: the only place where a plugin's heavy imports happen."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from samovar.errors import MissingExtraError, PluginError
from samovar.plugins.registry import one_line
from samovar.plugins.specs import Spec

__all__ = ["requirement_of", "resolve", "split_argument"]

F = TypeVar("F")


def resolve(spec: Spec[F]) -> F:
    """Import the target of `spec` and return it, ready to be called.

    Raises:
        MissingExtraError: a package of the spec's extra is not installed, found either now or when the target is
            called; the message says what to install.
        PluginError: the target does not exist, is not callable, or fails to import for another reason.
    """
    module_name, _, path = spec.target.partition(":")
    try:
        target: Any = import_module(module_name)
        for attribute in path.split("."):
            target = getattr(target, attribute)
    except ModuleNotFoundError as error:
        raise _missing(spec, error) from error
    except Exception as error:
        raise PluginError(f"{spec.noun} {spec.name!r}: import of {spec.target} failed: {one_line(error)}") from error
    if not callable(target):
        raise PluginError(f"{spec.noun} {spec.name!r}: {spec.target} is not callable; got {type(target).__name__}")
    found: F = target if spec.extra is None else _explained(spec, target)
    return found


def split_argument(text: str) -> tuple[str, str | None]:
    """`"name=argument"` as its two parts; the argument is None where there is no "="."""
    name, equals, argument = text.partition("=")
    return name, argument if equals else None


def requirement_of(spec: Spec[Any]) -> str | None:
    """What pip has to install for it, such as "samovar[sam]"; None where the base install will do."""
    return spec.extra if spec.extra is None or "[" in spec.extra else f"samovar[{spec.extra}]"


def _explained(spec: Spec[Any], target: Callable[..., Any]) -> Any:
    """`target`, which may import its model library only when called, with a missing one told as `resolve` tells it."""

    @functools.wraps(target)
    def call(*args: object, **kwargs: object) -> Any:
        try:
            return target(*args, **kwargs)
        except ModuleNotFoundError as error:
            if isinstance(error, MissingExtraError):
                raise
            raise _missing(spec, error) from error

    return call


def _missing(spec: Spec[Any], error: ModuleNotFoundError) -> MissingExtraError | PluginError:
    lacking = (error.name or "").partition(".")[0]
    package = spec.target.partition(":")[0].partition(".")[0]
    if spec.extra is None or not lacking or lacking == package:
        return PluginError(f"{spec.noun} {spec.name!r}: import of {spec.target} failed: {one_line(error)}")
    return MissingExtraError(f'{spec.noun} {spec.name!r} needs {lacking}: pip install "{requirement_of(spec)}"')
