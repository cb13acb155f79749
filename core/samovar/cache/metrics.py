"""Statistics for Prometheus, in its text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from samovar.cache.cache import Cache
from samovar.cache.maintenance import TierStats, stats

__all__ = ["CONTENT_TYPE", "prometheus"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class _Metric:
    name: str
    kind: str
    summary: str
    value: Callable[[TierStats], float]


_METRICS = (
    _Metric("entries", "gauge", "Embeddings held", lambda row: row.entries),
    _Metric("bytes", "gauge", "Bytes of the embeddings held", lambda row: row.nbytes),
    _Metric("hits_total", "counter", "Lookups that found the embedding", lambda row: row.counts.hits),
    _Metric("misses_total", "counter", "Lookups that did not", lambda row: row.counts.misses),
    _Metric("puts_total", "counter", "Embeddings put", lambda row: row.counts.puts),
    _Metric("evictions_total", "counter", "Embeddings dropped to make room", lambda row: row.counts.evictions),
    _Metric("damaged_total", "counter", "Embeddings dropped as damaged", lambda row: row.counts.damaged),
    _Metric("failures_total", "counter", "Operations that the tier could not do", lambda row: row.counts.failures),
    _Metric("saved_seconds_total", "counter", "Encoding made unnecessary", lambda row: row.counts.saved),
    _Metric("encode_seconds_total", "counter", "Encoding done all the same", lambda row: row.counts.spent),
)


def prometheus(cache: Cache) -> str:
    """The cache's statistics as a page for a Prometheus scrape; serve it as `CONTENT_TYPE`."""
    return "".join(_lines(stats(cache)))


def _lines(rows: Iterable[TierStats]) -> Iterable[str]:
    rows = list(rows)
    for metric in _METRICS:
        name = f"samovar_cache_{metric.name}"
        yield f"# HELP {name} {metric.summary}.\n# TYPE {name} {metric.kind}\n"
        for row in rows:
            yield f'{name}{{tier="{_escaped(row.tier)}",model="{_escaped(row.model)}"}} {metric.value(row):.9g}\n'


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
