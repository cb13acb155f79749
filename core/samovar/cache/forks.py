"""What a forked child must make anew: locks that threads of its parent held, and work that they were doing."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable

__all__ = ["forked", "on_fork"]

_forked = False
_renewals: dict[int, weakref.WeakMethod[Callable[[], None]]] = {}
_numbers = itertools.count()  # each change of the dictionary is one step, whatever other threads do meanwhile


def on_fork(renew: Callable[[], None]) -> None:
    """Call the bound method `renew` in every child forked from now on, as long as its object lives."""
    for number, reference in list(_renewals.items()):
        if reference() is None:
            _renewals.pop(number, None)
    _renewals[next(_numbers)] = weakref.WeakMethod(renew)


def forked() -> bool:
    """Whether this process is a forked child, in which threads of libraries may be missing."""
    return _forked


def _renew() -> None:
    global _forked  # noqa: PLW0603
    _forked = True
    for reference in list(_renewals.values()):
        renew = reference()
        if renew is not None:
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
