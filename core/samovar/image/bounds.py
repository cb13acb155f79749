"""How many pixels a file may claim before it is refused unread."""

from __future__ import annotations

import os
from typing import Any

from samovar.image.problem import problem

__all__ = ["DEFAULT_MAX_PIXELS", "pixel_bound"]

DEFAULT_MAX_PIXELS = 200_000_000
"""More pixels than this are refused before decoding, unless `max_pixels` or SAMOVAR_MAX_PIXELS says otherwise."""


def pixel_bound(given: int | None, label: str) -> int:
    """`given`, else SAMOVAR_MAX_PIXELS, else the default. Raises ImageError for what is no positive integer."""
    asked: Any = given if given is not None else os.environ.get("SAMOVAR_MAX_PIXELS") or DEFAULT_MAX_PIXELS
    try:
        bound = int(asked)
    except (TypeError, ValueError):
        bound = 0
    if bound < 1:
        name = "max_pixels" if given is not None else "SAMOVAR_MAX_PIXELS"
        raise problem(label, f"{name} to be a positive integer", repr(asked), f"set e.g. {DEFAULT_MAX_PIXELS}")
    return bound
