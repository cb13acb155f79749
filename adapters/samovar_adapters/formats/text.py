"""Numbers and JSON as the formats write them: the same bytes for the same values, everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["compact", "numbers", "pretty", "short"]


def compact(value: Any) -> bytes:
    """JSON on one line, UTF-8."""
    return _encode(value, separators=(",", ":"))


def pretty(value: Any) -> bytes:
    """JSON for people to read, UTF-8, ending in a newline."""
    return _encode(value, indent=2) + b"\n"


def _encode(value: Any, **layout: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, **layout)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a file name that is not valid Unicode: escapes survive the way back, bytes would not
        return json.dumps(value, allow_nan=False, **layout).encode()


def short(value: float | np.floating[Any]) -> float | int | None:
    """A float32 as the shortest decimal that reads back as the same float32; whole ones as integers; None for NaN."""
    number = np.float32(value)
    if not np.isfinite(number):
        return None
    shortest = float(str(number))
    return int(shortest) if shortest.is_integer() and abs(shortest) < 2**53 else shortest


def numbers(values: Iterable[Any]) -> list[float | int | None]:
    """`short` of each."""
    return [short(value) for value in values]
