"""The one shape that every error message about an image has."""

from __future__ import annotations

from samovar.errors import ImageError

__all__ = ["flat", "problem"]


def problem(label: str, expected: str, got: object, advice: str) -> ImageError:
    """An ImageError of one line: which image, what was expected, what came, what to do."""
    return ImageError(f"{flat(label, 500)}: expected {expected}, got {flat(got, 200)}; {advice}")


def flat(thing: object, length: int = 120) -> str:
    """`thing`, often an exception, as text on one line of at most `length` characters; never empty."""
    return " ".join(str(thing).split())[:length] or type(thing).__name__
