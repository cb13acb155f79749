"""What prompts, masks and the listing of models all speak of. Imports nothing: listing models needs no NumPy."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeVar

__all__ = ["KINDS", "Kind", "ObjectId", "trusted"]

Kind = Literal["points", "box", "mask", "text", "exemplar"]
"""What a prompt may be made of."""

KINDS: tuple[Kind, ...] = ("points", "box", "mask", "text", "exemplar")

ObjectId: TypeAlias = int | str | None
"""What a caller may use to recognise an object: given with its prompt, found again at its masks."""

Trusted = TypeVar("Trusted")


def trusted(kind: type[Trusted], values: tuple[Any, ...]) -> Trusted:
    """A frozen dataclass of these fields, in their order, without its checks: for parts of what was checked before.

    Masks and prompts are sliced and picked apart one by one, and checking is most of what that would cost.
    """
    made = object.__new__(kind)
    made.__dict__.update(zip(kind.__match_args__, values))  # type: ignore[attr-defined]  # of every dataclass
    return made
