"""What prompts, masks and the listing of models all speak of. Imports nothing: listing models needs no NumPy."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["KINDS", "Kind", "ObjectId"]

Kind = Literal["points", "box", "mask", "text", "exemplar"]
"""What a prompt may be made of."""

KINDS: tuple[Kind, ...] = ("points", "box", "mask", "text", "exemplar")

ObjectId: TypeAlias = int | str | None
"""What a caller may use to recognise an object: given with its prompt, found again at its masks."""
