"""Counting what a cache does, per tier and model."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, fields

from samovar.cache.forks import on_fork

__all__ = ["Counter", "Counts"]


@dataclass(frozen=True)
class Counts:
    """What one tier did for one model.

    Attributes:
        hits: entries found there.
        misses: entries looked for there and not found.
        puts: entries put there.
        evictions: entries dropped to make room.
        damaged: entries dropped because their checksums did not hold.
        failures: operations that the tier could not carry out (full, read-only, unreachable).
        saved: seconds of encoding that its hits made unnecessary.
        spent: seconds of encoding that happened nevertheless, counted at the tier called "encoder".
    """

    hits: int = 0
    misses: int = 0
    puts: int = 0
    evictions: int = 0
    damaged: int = 0
    failures: int = 0
    saved: float = 0.0
    spent: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.hits + other.hits,
            self.misses + other.misses,
            self.puts + other.puts,
            self.evictions + other.evictions,
            self.damaged + other.damaged,
            self.failures + other.failures,
            self.saved + other.saved,
            self.spent + other.spent,
        )

    def as_list(self) -> list[float]:
        """The values in the order of the attributes."""
        return [getattr(self, field.name) for field in fields(self)]

    @classmethod
    def of_list(cls, values: Iterable[object]) -> Counts:
        """The inverse of `as_list`; later versions may add values at the end. Raises ValueError, TypeError."""
        known: list[float] = []
        for field, value in zip(fields(cls), values):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{field.name} must be a number; got {value!r}")
            known.append(value)
        return cls(*known)  # type: ignore[arg-type]


class Counter:
    """Counts by (tier, model): those since the process started, and those not yet written down. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total: dict[tuple[str, str], Counts] = {}
        self._pending: dict[tuple[str, str], Counts] = {}
        on_fork(self._renew)

    def _renew(self) -> None:
        self._lock, self._total, self._pending = threading.Lock(), {}, {}

    def add(self, tier: str, model: str, counts: Counts) -> None:
        """Count something."""
        place = (tier, model)
        with self._lock:
            self._total[place] = self._total.get(place, Counts()) + counts
            self._pending[place] = self._pending.get(place, Counts()) + counts

    def total(self) -> dict[tuple[str, str], Counts]:
        """Everything counted so far."""
        with self._lock:
            return dict(self._total)

    def pending(self) -> dict[tuple[str, str], Counts]:
        """What has not been taken yet."""
        with self._lock:
            return dict(self._pending)

    def take(self) -> dict[tuple[str, str], Counts]:
        """What has been counted since the last call."""
        with self._lock:
            pending, self._pending = self._pending, {}
        return pending

    def give_back(self, counts: dict[tuple[str, str], Counts]) -> None:
        """Undo a `take` whose counts could not be written down."""
        with self._lock:
            for place, value in counts.items():
                self._pending[place] = self._pending.get(place, Counts()) + value
