"""From a description to a cache: the one module that knows both the registry of tiers and the cache.

It also registers the tiers that come with samovar, as anybody's are. `samovar.cache` itself knows nothing of plugins.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.errors import CacheError
from samovar.plugins import CacheTierSpec, find_cache_tier, fire_on_evict, hookimpl, resolve, split_argument

if TYPE_CHECKING:
    from samovar.cache import Cache, CacheConfig, CacheTier

__all__ = ["open_cache", "register_cache_tiers"]


@hookimpl
def register_cache_tiers() -> Iterable[CacheTierSpec]:
    """CUDA, pinned, memory, disk and shared, from fast to slow."""
    return [
        CacheTierSpec(
            name="cuda",
            target="samovar.caching:open_cuda",
            summary="the memory of the CUDA device that a segmenter runs on",
            extra="sam",
            argument="[BYTES]",
        ),
        CacheTierSpec(
            name="pinned",
            target="samovar.caching:open_pinned",
            summary="a slab of page-locked memory that feeds CUDA devices",
            extra="sam",
            argument="[BYTES]",
        ),
        CacheTierSpec(
            name="memory",
            target="samovar.caching:open_memory",
            summary="this process's memory, for segmenters on the CPU",
            argument="[BYTES]",
        ),
        CacheTierSpec(
            name="disk",
            target="samovar.caching:open_disk",
            summary="one file an embedding, shared by all processes of one user",
            argument="[FOLDER]",
        ),
        CacheTierSpec(
            name="shared",
            target="samovar.cache.shared:open_shared",
            summary="files shared by a team, over fsspec: NFS, S3, GCS, SFTP",
            extra="shared",
            argument="URL",
        ),
    ]


def open_cuda(argument: str | None = None, config: CacheConfig | None = None) -> CacheTier:
    """The tier on CUDA devices, of that many bytes on each. Raises CacheError, InputError."""
    from samovar.cache.cuda import CudaTier

    return CudaTier(_bytes(argument, (config or _settings()).cuda))


def open_pinned(argument: str | None = None, config: CacheConfig | None = None) -> CacheTier:
    """The page-locked slab of that many bytes. Raises CacheError, InputError."""
    from samovar.cache.cuda import PinnedTier

    config = config or _settings()
    return PinnedTier(_bytes(argument, config.pinned) or 0)


def open_memory(argument: str | None = None, config: CacheConfig | None = None) -> CacheTier:
    """The memory tier, of that many bytes. Raises CacheError, InputError."""
    from samovar.cache import MemoryTier

    config = config or _settings()
    return MemoryTier(_bytes(argument, config.memory) or 0)


def open_disk(argument: str | None = None, config: CacheConfig | None = None) -> CacheTier:
    """The disk tier in that folder. Raises CacheError."""
    from samovar.cache import DiskTier

    config = config or _settings()
    folder = config.folder if argument is None else Path(argument).expanduser()
    return DiskTier(folder, config.disk, durable=config.durable)


# Opened without a look at what plugins are installed, which would cost every process 20 ms.
_BUILT_IN = {"cuda": open_cuda, "pinned": open_pinned, "memory": open_memory, "disk": open_disk}

_lock = threading.Lock()
_open: weakref.WeakValueDictionary[CacheConfig, Cache] = weakref.WeakValueDictionary()


def open_cache(spec: CacheConfig | str | os.PathLike[str] | None = "auto") -> Cache:
    """See `Cache.open`: one cache a description, however often it is opened in a process."""
    from samovar.cache import Cache, CacheConfig

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
    from samovar.cache import Cache, DiskTier

    tiers = [_tier(text, config) for text in config.tiers]
    disk = next((tier for tier in tiers if isinstance(tier, DiskTier)), None)
    return Cache(tiers, precision=config.precision, admission=config.admission, disk=disk, on_evict=fire_on_evict)


def _tier(text: str, config: CacheConfig) -> CacheTier:
    from samovar.cache import CacheTier

    name, argument = split_argument(text)
    if name in _BUILT_IN:
        return _BUILT_IN[name](argument, config)
    tier = resolve(find_cache_tier(name))(argument)
    if not isinstance(tier, CacheTier):
        raise CacheError(f"cache tier {name!r} must be a samovar.cache.CacheTier; got a {type(tier).__name__}")
    return tier


def _settings() -> CacheConfig:
    from samovar.cache import CacheConfig

    return CacheConfig.load()


def _bytes(argument: str | None, configured: int | None) -> int | None:
    from samovar.sizes import parse_bytes

    return configured if argument is None else parse_bytes(argument)
