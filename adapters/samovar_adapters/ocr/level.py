"""How finely text is cut: lines, words or characters."""

from __future__ import annotations

from collections.abc import Sequence

from samovar.errors import UnknownNameError

__all__ = ["LEVELS", "level_of"]

LEVELS = ("lines", "words", "characters")


def level_of(argument: str | None, source: str, levels: Sequence[str] = LEVELS) -> str:
    """Which of `levels` the argument of `source` names; lines by default. Raises UnknownNameError."""
    if argument and argument not in levels:
        raise UnknownNameError.among("level", argument, levels, f"write it as in {source}=words")
    return argument or "lines"
