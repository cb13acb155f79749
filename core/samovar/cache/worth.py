"""What an entry is worth: GreedyDual-Size-Frequency (Cherkasova 1998).

An entry's priority is the shelf's age when it was last used, plus its hits × seconds to encode it again ÷ its bytes.
The lowest goes first, and the age rises to the priority of what went: so a large, cheap or rarely used entry leaves
before a small, dear or popular one, and one that was popular long ago leaves in the end too. No clock is involved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from samovar.cache.entry import EntryInfo

__all__ = ["Row", "Shelf"]


@dataclass(frozen=True)
class Row:
    """An entry on a shelf, and its priority there."""

    info: EntryInfo
    priority: float


class Shelf:
    """Which entries a tier holds, their bytes, and which of them to drop first. Not thread-safe: its owner locks."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.nbytes = 0
        self.age = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def put(self, info: EntryInfo, priority: float | None = None) -> None:
        """Note an entry, replacing what was noted of it; `priority` when it is known from an earlier note."""
        self.remove(info.key)
        self.rows[info.key] = Row(info, self._priority(info) if priority is None else priority)
        self.nbytes += info.nbytes

    def touch(self, key: str, hits: int, used: float) -> None:
        """Note `hits` uses of an entry, the last at `used`; unknown keys are passed over."""
        row = self.rows.get(key)
        if row is not None:
            info = replace(row.info, hits=row.info.hits + hits, used=max(used, row.info.used))
            self.rows[key] = Row(info, self._priority(info))

    def remove(self, key: str) -> EntryInfo | None:
        """Forget an entry; what was known of it."""
        row = self.rows.pop(key, None)
        if row is None:
            return None
        self.nbytes -= row.info.nbytes
        return row.info

    def victims(self, limit: int, spare: Callable[[str], bool] = lambda key: False) -> list[Row]:
        """The entries to drop, worst first, so that at most `limit` bytes stay; those that `spare` names are kept."""
        excess = self.nbytes - limit
        chosen: list[Row] = []
        if excess <= 0:
            return chosen
        for row in sorted(self.rows.values(), key=lambda row: row.priority):
            if spare(row.info.key):
                continue
            chosen.append(row)
            excess -= row.info.nbytes
            if excess <= 0:
                break
        return chosen

    def grow_old(self, priority: float) -> None:
        """Note that an entry of that priority was dropped to make room."""
        self.age = max(self.age, priority)

    def _priority(self, info: EntryInfo) -> float:
        # A cost of nothing would make everything equal; a microsecond keeps frequency and size in play.
        return self.age + (info.hits + 1) * max(info.cost, 1e-6) / max(info.nbytes, 1)
