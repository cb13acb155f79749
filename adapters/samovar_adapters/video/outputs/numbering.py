"""Numbers for objects and kinds of objects, for formats that know nothing else."""

from __future__ import annotations

from samovar.types import ObjectId

__all__ = ["Numbering"]


class Numbering:
    """From 1, in the order of appearance; an id that is a positive number stays what it is as long as it is free."""

    def __init__(self) -> None:
        self._objects: dict[ObjectId, int] = {}
        self._kinds: dict[str | None, int] = {}

    def object(self, ident: ObjectId) -> int:
        """The object's number."""
        if ident not in self._objects:
            taken = set(self._objects.values())
            own = ident if isinstance(ident, int) and ident > 0 and ident not in taken else None
            self._objects[ident] = own or next(number for number in range(1, len(taken) + 2) if number not in taken)
        return self._objects[ident]

    def kind(self, label: str | None) -> int:
        """The number of a label; objects without one share one."""
        return self._kinds.setdefault(label, len(self._kinds) + 1)

    @property
    def kinds(self) -> dict[str | None, int]:
        """All labels so far with their numbers."""
        return dict(self._kinds)
