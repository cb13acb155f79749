"""What a forked child must make anew: locks that threads of its parent held, and work that they were doing."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

__all__ = ["forked", "on_fork"]

_forked = False
_renewals: list[weakref.WeakMethod[Callable[[], None]]] = []


def on_fork(renew: Callable[[], None]) -> None:
    """Call the bound method `renew` in every child forked from now on, as long as its object lives."""
    _renewals[:] = [reference for reference in _renewals if reference() is not None]
    _renewals.append(weakref.WeakMethod(renew))


def forked() -> bool:
    """Whether this process is a forked child, in which threads of libraries may be missing."""
    return _forked


def _renew() -> None:
    global _forked  # noqa: PLW0603
    _forked = True
    for reference in _renewals:
        renew = reference()
        if renew is not None:
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
