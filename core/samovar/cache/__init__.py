"""The embedding cache: every image is encoded once, in any tool, on any day.

The way through it: `samovar.caching` (from settings, `config`) → `cache` (`get_or_encode`) → `stack` (all tiers, each
behind a `guard`) → a tier; what none of them has, `encoding` makes.

    what is kept     keys, alias (file → pixels), entry, parts, precision, integers, foreign (torch)
    tiers            tiers (the interface), memory, disk, shared, pinned, device (CUDA), worth (what goes first)
    the disk's       format (an entry's file), files (appear whole), ledger (accounts), locks (between processes)
    the devices'     slab (page-locked memory), upload (streams, staging), kernels (Triton)
    once only        flight (threads), encoding (processes), forks (what a child makes anew)
    in background    behind (slower tiers), prefetch (hints), warm (whole folders)
    looking after    counts, metrics (Prometheus), maintenance (verify, prune …)

Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

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

__getattr__ = lazy(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
