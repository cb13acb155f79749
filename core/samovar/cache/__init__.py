"""The embedding cache: every image is encoded once, in any tool, on any day.

    cache        `Cache.get_or_encode`: looks up, and encodes what is missing, each image by one thread and process
    store        all tiers, from fast to slow, each behind a circuit breaker
    tiers        what a tier is, what goes first, and the memory tier; disk, shared, cuda: the others
    index        the disk tier's SQLite database: accounts, aliases (file → pixels), statistics
    entry        what is kept: its key, its file; tensors: each of its tensors, and how it is quantized

Settings are in `config`, opening caches by them in `samovar.caching`. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar.cache.cache import Cache, Lookup
    from samovar.cache.config import CacheConfig, default_folder
    from samovar.cache.disk import DiskTier
    from samovar.cache.entry import CorruptEntryError, Entry, EntryInfo
    from samovar.cache.stats import Counts, TierStats, VerifyReport
    from samovar.cache.tensors import TensorRecord
    from samovar.cache.tiers import CacheTier, Evicted, MemoryTier, TierTraits

_HOME = {
    "Cache": "cache",
    "CacheConfig": "config",
    "CacheTier": "tiers",
    "CorruptEntryError": "entry",
    "Counts": "stats",
    "DiskTier": "disk",
    "Entry": "entry",
    "EntryInfo": "entry",
    "Evicted": "tiers",
    "Lookup": "cache",
    "MemoryTier": "tiers",
    "TensorRecord": "tensors",
    "TierStats": "stats",
    "TierTraits": "tiers",
    "VerifyReport": "stats",
    "default_folder": "config",
}
_RENAMED = {"Dropped": "samovar.cache.Evicted", "Part": "samovar.cache.TensorRecord"}

__all__ = [
    "Cache",
    "CacheConfig",
    "CacheTier",
    "CorruptEntryError",
    "Counts",
    "DiskTier",
    "Entry",
    "EntryInfo",
    "Evicted",
    "Lookup",
    "MemoryTier",
    "TensorRecord",
    "TierStats",
    "TierTraits",
    "VerifyReport",
    "default_folder",
]

_found = lazy(__name__, _HOME)


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        from samovar.deprecation import renamed_names

        return renamed_names(__name__, _RENAMED)(name)
    return _found(name)


def __dir__() -> list[str]:
    return __all__
