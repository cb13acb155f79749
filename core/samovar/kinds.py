"""The kinds of prompt there are. A module of its own, so that listing models needs no NumPy."""

from __future__ import annotations

from typing import Literal

__all__ = ["KINDS", "Kind"]

Kind = Literal["points", "box", "mask", "text", "exemplar"]
KINDS: tuple[Kind, ...] = ("points", "box", "mask", "text", "exemplar")
