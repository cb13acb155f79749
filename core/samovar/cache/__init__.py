"""The embedding cache: every image is encoded once, in any tool, on any day.

Names are imported on first use: the plugin that registers the tiers lives here too, and listing plugins stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar.cache.cache import Cache, Lookup
    from samovar.cache.config import CacheConfig, default_folder
    from samovar.cache.counts import Counts
    from samovar.cache.disk import DiskTier
    from samovar.cache.entry import Entry, EntryInfo
    from samovar.cache.memory import MemoryTier
    from samovar.cache.parts import Part
    from samovar.cache.tiers import CacheTier, Dropped

_HOME = {
    "Cache": "cache",
    "CacheConfig": "config",
    "CacheTier": "tiers",
    "Counts": "counts",
    "DiskTier": "disk",
    "Dropped": "tiers",
    "Entry": "entry",
    "EntryInfo": "entry",
    "Lookup": "cache",
    "MemoryTier": "memory",
    "Part": "parts",
    "default_folder": "config",
}

__all__ = [
    "Cache",
    "CacheConfig",
    "CacheTier",
    "Counts",
    "DiskTier",
    "Dropped",
    "Entry",
    "EntryInfo",
    "Lookup",
    "MemoryTier",
    "Part",
    "default_folder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'samovar.cache' has no attribute {name!r}")
    value = getattr(import_module(f"samovar.cache.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
