"""Single flight in one process: of all threads that miss the same entry, one makes it and the others wait."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from samovar.cache.forks import on_fork
from samovar.embedding import Embedding

__all__ = ["Flight", "Flights"]


class Flight:
    """An embedding that some thread is making."""

    def __init__(self) -> None:
        self._landed = threading.Event()
        self._embedding: Embedding | None = None

    def land(self, embedding: Embedding | None) -> None:
        """Hand the embedding to whoever waits; None when it could not be made."""
        if not self._landed.is_set():
            self._embedding = embedding
            self._landed.set()

    def wait(self) -> Embedding | None:
        """The embedding, or None when whoever was making it failed: the caller may then try."""
        self._landed.wait()
        return self._embedding


class Flights:
    """All embeddings that are being made in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[str, Flight] = {}
        on_fork(self._renew)

    def _renew(self) -> None:
        self._lock, self._flying = threading.Lock(), {}

    def claim(self, keys: Iterable[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        """Those of `keys` that the caller now has to make and land, and those that other threads are making."""
        mine, theirs = {}, {}
        with self._lock:
            for key in keys:
                if key in self._flying:
                    theirs[key] = self._flying[key]
                else:
                    mine[key] = self._flying[key] = Flight()
        return mine, theirs

    def land(self, key: str, embedding: Embedding | None) -> None:
        """Finish a claimed flight."""
        with self._lock:
            flight = self._flying.pop(key, None)
        if flight is not None:
            flight.land(embedding)
