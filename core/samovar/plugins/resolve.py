"""From a spec to the thing it describes: the only place where a plugin's heavy imports happen."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from samovar.errors import MissingExtraError, PluginError
from samovar.plugins.specs import (
    CacheTierSpec,
    InpainterSpec,
    MaskSinkSpec,
    PromptSourceSpec,
    SegmenterSpec,
    Spec,
    TrackerSpec,
)
from samovar.plugins.trace import one_line

if TYPE_CHECKING:
    from samovar.cache import CacheTier
    from samovar.inpainting import Inpainter
    from samovar.protocols import MaskSink, PromptSource, Segmenter
    from samovar.tracking import Tracker

__all__ = [
    "CacheTierFactory",
    "InpainterFactory",
    "MaskSinkFactory",
    "PromptSourceFactory",
    "SegmenterFactory",
    "TrackerFactory",
    "requirement_of",
    "resolve",
    "split_argument",
]

T = TypeVar("T")


class SegmenterFactory(Protocol):
    """What the target of a `SegmenterSpec` is."""

    def __call__(self, name: str, /, *, weights: str | None, device: str, dtype: str) -> Segmenter:
        """The model `name`, ready on `device`."""


class PromptSourceFactory(Protocol):
    """What the target of a `PromptSourceSpec` is."""

    def __call__(self, argument: str | None, /) -> PromptSource:
        """The source, ready."""


class MaskSinkFactory(Protocol):
    """What the target of a `MaskSinkSpec` is."""

    def __call__(self, path: str, /) -> MaskSink:
        """A sink that writes to `path`."""


class CacheTierFactory(Protocol):
    """What the target of a `CacheTierSpec` is."""

    def __call__(self, argument: str | None, /) -> CacheTier:
        """The tier, ready."""


class TrackerFactory(Protocol):
    """What the target of a `TrackerSpec` is."""

    def __call__(self, runtime: Any, /, *, source: PromptSource | None = None) -> Tracker:
        """The tracker, ready, for one video; `runtime` is a `samovar.Runtime`, which is above this module."""


class InpainterFactory(Protocol):
    """What the target of an `InpainterSpec` is."""

    def __call__(self, argument: str | None = None, /, **options: Any) -> Inpainter:
        """The inpainter, ready; `options` are among those that the spec names."""


@overload
def resolve(spec: SegmenterSpec) -> SegmenterFactory: ...
@overload
def resolve(spec: PromptSourceSpec) -> PromptSourceFactory: ...
@overload
def resolve(spec: MaskSinkSpec) -> MaskSinkFactory: ...
@overload
def resolve(spec: CacheTierSpec) -> CacheTierFactory: ...
@overload
def resolve(spec: TrackerSpec) -> TrackerFactory: ...
@overload
def resolve(spec: InpainterSpec) -> InpainterFactory: ...
def resolve(spec: Spec) -> object:
    """Import the target of `spec` and return it, ready to be called.

    Raises:
        MissingExtraError: a package of the spec's extra is not installed, found either now or when the target is
            called; the message says what to install.
        PluginError: the target does not exist, is not callable, or fails to import for another reason.
    """
    module_name, _, path = spec.target.partition(":")
    try:
        target: object = import_module(module_name)
        for attribute in path.split("."):
            target = getattr(target, attribute)
    except ModuleNotFoundError as error:
        raise _missing(spec, error) from error
    except Exception as error:
        raise PluginError(f"{spec.noun} {spec.name!r}: import of {spec.target} failed: {one_line(error)}") from error
    if not callable(target):
        raise PluginError(f"{spec.noun} {spec.name!r}: {spec.target} is not callable; got {type(target).__name__}")
    return target if spec.extra is None else _explained(spec, target)


def split_argument(text: str) -> tuple[str, str | None]:
    """`"name=argument"` as its two parts; the argument is None where there is no "="."""
    name, equals, argument = text.partition("=")
    return name, argument if equals else None


def requirement_of(spec: Spec) -> str | None:
    """What pip has to install for it, such as "samovar[sam]"; None where the base install will do."""
    return spec.extra if spec.extra is None or "[" in spec.extra else f"samovar[{spec.extra}]"


def _explained(spec: Spec, target: Callable[..., T]) -> Callable[..., T]:
    """`target`, which may import its model library only when called, with a missing one told as `resolve` tells it."""

    @functools.wraps(target)
    def call(*args: object, **kwargs: object) -> T:
        try:
            return target(*args, **kwargs)
        except ModuleNotFoundError as error:
            if isinstance(error, MissingExtraError):
                raise
            raise _missing(spec, error) from error

    return call


def _missing(spec: Spec, error: ModuleNotFoundError) -> MissingExtraError | PluginError:
    lacking = (error.name or "").partition(".")[0]
    package = spec.target.partition(":")[0].partition(".")[0]
    if spec.extra is None or not lacking or lacking == package:
        return PluginError(f"{spec.noun} {spec.name!r}: import of {spec.target} failed: {one_line(error)}")
    return MissingExtraError(f'{spec.noun} {spec.name!r} needs {lacking}: pip install "{requirement_of(spec)}"')
