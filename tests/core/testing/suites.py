"""Running a contract suite by hand: which of its checks fail?"""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from typing import Any

import pytest

__all__ = ["checks", "failures"]


def checks(suite: type) -> set[str]:
    """The names of a suite's checks."""
    return {name for name in dir(suite) if name.startswith("test_")}


def failures(suite: type, *, only: str | None = None, **fixtures: Any) -> dict[str, BaseException]:
    """Check → what it raised, for each check of `suite` (or the one named) that fails when it is given `fixtures`.

    Each check gets a `tmp_path` of its own and, if it is parametrized, every value; skipping is no failure.
    """
    failed: dict[str, BaseException] = {}
    for name in sorted(checks(suite)) if only is None else [only]:
        check = getattr(suite(), name)
        for values in _parameters(check):
            with tempfile.TemporaryDirectory() as folder:
                given = {**fixtures, **values, "tmp_path": Path(folder)}
                try:
                    check(**{argument: given[argument] for argument in inspect.signature(check).parameters})
                except pytest.skip.Exception:
                    continue
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - any failure is the answer
                    failed[name] = error
    return failed


def _parameters(check: Any) -> list[dict[str, Any]]:
    marks = [mark for mark in getattr(check, "pytestmark", []) if mark.name == "parametrize"]
    if not marks:
        return [{}]
    (mark,) = marks
    return [{mark.args[0]: value} for value in mark.args[1]]
