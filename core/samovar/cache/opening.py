"""From a description to a cache; and one cache a description, however often it is opened in a process."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from samovar.cache.alias import AliasTable
from samovar.cache.cache import Cache
from samovar.cache.config import CacheConfig
from samovar.cache.disk import DiskTier
from samovar.cache.plugin import builtin_tier
from samovar.cache.tiers import CacheTier
from samovar.errors import CacheError
from samovar.plugins import find_cache_tier, resolve, split_argument

__all__ = ["open_cache"]

_lock = threading.Lock()
_open: weakref.WeakValueDictionary[CacheConfig, Cache] = weakref.WeakValueDictionary()


def open_cache(spec: CacheConfig | str | os.PathLike[str] | None) -> Cache:
    """See `Cache.open`."""
    if spec is None or spec == "off":
        return Cache()
    if isinstance(spec, CacheConfig):
        config = spec
    elif isinstance(spec, (str, os.PathLike)) and os.fspath(spec):
        config = CacheConfig.load(folder=None if spec == "auto" else Path(spec))
    else:
        raise CacheError(f'a cache is "auto", "off", a folder or a Cache; got {spec!r:.60}')
    with _lock:
        cache = _open.get(config)
        if cache is None:
            cache = _open[config] = _build(config)
        return cache


def _build(config: CacheConfig) -> Cache:
    tiers = [_tier(text, config) for text in config.tiers]
    disk = next((tier for tier in tiers if isinstance(tier, DiskTier)), None)
    aliases = AliasTable(disk.aliases if disk is not None else None)
    return Cache(tiers, aliases=aliases, precision=config.precision, placement=config.placement, disk=disk)


def _tier(text: str, config: CacheConfig) -> CacheTier:
    name, argument = split_argument(text)
    tier = builtin_tier(name, argument, config) or resolve(find_cache_tier(name))(argument)
    if not isinstance(tier, CacheTier):
        raise CacheError(f"cache tier {name!r} must be a samovar.cache.CacheTier; got a {type(tier).__name__}")
    return tier
