"""What the server counts, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["CONTENT_TYPE", "Counter", "Histogram", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Counter:
    """A number for every set of labels."""

    def __init__(self, name: str, summary: str) -> None:
        self.name, self.summary = name, summary
        self._values: dict[tuple[tuple[str, str], ...], float] = {}
        self._lock = threading.Lock()

    def add(self, value: float = 1, **labels: str) -> None:
        """Count `value` more under these labels."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            self._values[key] = self._values.get(key, 0) + value

    def lines(self) -> Iterator[str]:
        """Its lines of a page."""
        yield from _head(self.name, self.summary, "counter")
        with self._lock:
            values = dict(self._values)
        for key, value in sorted(values.items()):
            yield f"{self.name}{_labels(key)} {value:g}"


class Histogram:
    """How often values fell below each of `bounds`, and their sum."""

    def __init__(self, name: str, summary: str, bounds: Sequence[float] = _SECONDS) -> None:
        self.name, self.summary, self.bounds = name, summary, tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many values there were."""
        with self._lock:
            return sum(self._counts)

    def observe(self, value: float) -> None:
        """Count a value."""
        with self._lock:
            self._counts[bisect_left(self.bounds, value)] += 1
            self._sum += value

    def lines(self) -> Iterator[str]:
        """Its lines of a page."""
        yield from _head(self.name, self.summary, "histogram")
        with self._lock:
            counts, total = list(self._counts), self._sum
        seen = 0
        for bound, count in zip((*self.bounds, "+Inf"), counts):
            seen += count
            yield f'{self.name}_bucket{{le="{bound}"}} {seen}'
        yield f"{self.name}_sum {total:g}"
        yield f"{self.name}_count {seen}"


class Metrics:
    """Everything that one server counts."""

    def __init__(self) -> None:
        self.requests = Counter("samovar_requests_total", "Requests by route and status")
        self.request_seconds = Histogram("samovar_request_seconds", "Time to answer a request")
        self.encode_seconds = Histogram("samovar_encode_seconds", "Time to encode an image")
        self.decode_seconds = Histogram("samovar_decode_seconds", "From an embedding to its masks, waiting included")
        self.batch_sizes = Histogram("samovar_decode_batch", "Requests that one decode answered", _SIZES)

    def page(self) -> str:
        """All of it."""
        kept = (self.requests, self.request_seconds, self.encode_seconds, self.decode_seconds, self.batch_sizes)
        return "".join(f"{line}\n" for one in kept for line in one.lines())


def _head(name: str, summary: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {summary}", f"# TYPE {name} {kind}"


def _labels(key: tuple[tuple[str, str], ...]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in key)
    return f"{{{inside}}}" if inside else ""
