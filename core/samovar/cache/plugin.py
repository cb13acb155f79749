"""The tiers that come with samovar, registered as anybody's are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.plugins import CacheTierSpec, hookimpl

if TYPE_CHECKING:
    from samovar.cache.config import CacheConfig
    from samovar.cache.tiers import CacheTier

__all__ = ["builtin_tier", "open_disk", "open_memory", "register_cache_tiers"]


@hookimpl
def register_cache_tiers() -> Iterable[CacheTierSpec]:
    """CUDA, pinned, memory, disk and shared, from fast to slow."""
    return [
        CacheTierSpec(
            name="cuda",
            target="samovar.cache.plugin:open_cuda",
            summary="the memory of the CUDA device that a segmenter runs on",
            extra="sam",
            argument="[BYTES]",
        ),
        CacheTierSpec(
            name="pinned",
            target="samovar.cache.plugin:open_pinned",
            summary="a slab of page-locked memory that feeds CUDA devices",
            extra="sam",
            argument="[BYTES]",
        ),
        CacheTierSpec(
            name="memory",
            target="samovar.cache.plugin:open_memory",
            summary="this process's memory, for segmenters on the CPU",
            argument="[BYTES]",
        ),
        CacheTierSpec(
            name="disk",
            target="samovar.cache.plugin:open_disk",
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


def open_cuda(argument: str | None = None) -> CacheTier:
    """The tier on CUDA devices, of that many bytes on each. Raises CacheError, InputError."""
    from samovar.cache.config import CacheConfig

    return _cuda(argument, CacheConfig.load())


def open_pinned(argument: str | None = None) -> CacheTier:
    """The page-locked slab of that many bytes. Raises CacheError, InputError."""
    from samovar.cache.config import CacheConfig

    return _pinned(argument, CacheConfig.load())


def open_memory(argument: str | None = None) -> CacheTier:
    """The memory tier, of that many bytes. Raises CacheError, InputError."""
    from samovar.cache.config import CacheConfig

    return _memory(argument, CacheConfig.load())


def open_disk(argument: str | None = None) -> CacheTier:
    """The disk tier in that folder. Raises CacheError."""
    from samovar.cache.config import CacheConfig

    return _disk(argument, CacheConfig.load())


def builtin_tier(name: str, argument: str | None, config: CacheConfig) -> CacheTier | None:
    """The tier of that name as `config` has it, without looking at what plugins are installed; None for another's."""
    makers = {"cuda": _cuda, "pinned": _pinned, "memory": _memory, "disk": _disk}
    return makers[name](argument, config) if name in makers else None


def _cuda(argument: str | None, config: CacheConfig) -> CacheTier:
    from samovar.cache.device import CudaTier
    from samovar.sizes import parse_bytes

    return CudaTier(config.cuda if argument is None else parse_bytes(argument))


def _pinned(argument: str | None, config: CacheConfig) -> CacheTier:
    from samovar.cache.pinned import PinnedTier
    from samovar.sizes import parse_bytes

    return PinnedTier(config.pinned if argument is None else parse_bytes(argument))


def _memory(argument: str | None, config: CacheConfig) -> CacheTier:
    from samovar.cache.memory import MemoryTier
    from samovar.sizes import parse_bytes

    return MemoryTier(config.memory if argument is None else parse_bytes(argument))


def _disk(argument: str | None, config: CacheConfig) -> CacheTier:
    from samovar.cache.disk import DiskTier

    folder = config.folder if argument is None else Path(argument).expanduser()
    return DiskTier(folder, config.disk, durable=config.durable)
