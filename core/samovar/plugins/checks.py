"""Validation of specs, when they are made, and the interface that all four kinds share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Protocol

from samovar.errors import PluginError
from samovar.types import KINDS, Kind

__all__ = [
    "Spec",
    "aliases",
    "check_common",
    "check_count",
    "check_suffix",
    "check_text",
    "devices",
    "kinds",
    "strings",
]

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_ALIAS = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*)?")
_TARGET = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_EXTRA = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*(?:\[[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*\])?")
_SUFFIX = re.compile(r"(?:\.[A-Za-z0-9]+)*")
_DEVICES = ("cpu", "cuda", "mps")


class Spec(Protocol):
    """What the four kinds of spec have in common."""

    noun: ClassVar[str]
    hook: ClassVar[str]

    @property
    def name(self) -> str:
        """What people type."""

    @property
    def target(self) -> str:
        """Where it is: "package.module:callable"."""

    @property
    def summary(self) -> str:
        """One line for listings."""

    @property
    def extra(self) -> str | None:
        """The extra that it needs, or None."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""


def check_common(spec: Spec) -> None:
    """Raise PluginError for a bad name, target, summary or extra."""
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        expected = 'lower-case letters and digits joined by ".", "-" or "_"'
        raise PluginError(f"the name of a {spec.noun} must be {expected}; got {spec.name!r:.60}")
    if not isinstance(spec.target, str) or not _TARGET.fullmatch(spec.target):
        raise _wrong(spec, "target", '"package.module:callable"', spec.target)
    check_text(spec, "summary", spec.summary)
    if spec.extra is not None and (not isinstance(spec.extra, str) or not _EXTRA.fullmatch(spec.extra)):
        raise _wrong(spec, "extra", 'the name of an extra of samovar, or "distribution[extra]"', spec.extra)


def check_text(spec: Spec, field: str, value: object, *, optional: bool = False) -> None:
    """Raise PluginError for what is not one line of text."""
    if value is None and optional:
        return
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise _wrong(spec, field, "one line of text", value)


def check_count(spec: Spec, field: str, value: object) -> None:
    """Raise PluginError for what is neither None nor a whole number from 0."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise _wrong(spec, field, "a whole number ≥ 0 or None", value)


def check_suffix(spec: Spec, field: str, value: object) -> None:
    """Raise PluginError for what is neither "" nor such as ".json"."""
    if not isinstance(value, str) or not _SUFFIX.fullmatch(value):
        raise _wrong(spec, field, 'one such as ".json", or "" for a folder', value)


def kinds(spec: Spec, field: str, value: object, *, at_least: int = 1) -> frozenset[Kind]:
    """`value`, any iterable of kinds of prompt, as a set."""
    given = strings(spec, field, value)
    if len(given) < at_least or not set(given) <= set(KINDS):
        raise _wrong(spec, field, f"some of {', '.join(KINDS)}", value)
    return frozenset(kind for kind in KINDS if kind in given)


def aliases(spec: Spec, value: object) -> tuple[str, ...]:
    """`value` as a tuple of names, each once and none the spec's own; a hub id "owner/name" will do."""
    given = strings(spec, "aliases", value)
    for alias in given:
        if not _ALIAS.fullmatch(alias) or alias == spec.name or given.count(alias) > 1:
            raise _wrong(spec, "aliases", "other names or hub ids (owner/name), each once", given)
    return given


def devices(spec: Spec, value: object) -> tuple[str, ...]:
    """`value` as a tuple of kinds of device."""
    given = strings(spec, "devices", value)
    if not given or not set(given) <= set(_DEVICES):
        raise _wrong(spec, "devices", f"some of {', '.join(_DEVICES)}", value)
    return given


def strings(spec: Spec, field: str, value: object) -> tuple[str, ...]:
    """`value` as a tuple of strings; a lone string is refused, since it would be taken letter by letter."""
    items = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
    if not all(isinstance(item, str) for item in items):
        raise _wrong(spec, field, "a tuple of strings", value)
    return tuple(str(item) for item in items)


def _wrong(spec: Spec, field: str, expected: str, got: object) -> PluginError:
    return PluginError(f"{spec.noun} {spec.name!r}: {field} must be {expected}; got {got!r:.80}")
