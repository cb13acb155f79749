"""The plugins of this process: loaded once, on first use, from whichever thread comes first."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.events import EvictEvent, SegmentEvent
from samovar.plugins.manager import PluginManager
from samovar.plugins.specs import (
    CacheTierSpec,
    InpainterSpec,
    MaskSinkSpec,
    PromptSourceSpec,
    SegmenterSpec,
    TrackerSpec,
)

if TYPE_CHECKING:
    import click

__all__ = [
    "find_cache_tier",
    "find_inpainter",
    "find_mask_sink",
    "find_prompt_source",
    "find_segmenter",
    "find_tracker",
    "fire_after_segment",
    "fire_on_evict",
    "identify_weights",
    "isolated",
    "list_cache_tiers",
    "list_inpainters",
    "list_mask_sinks",
    "list_prompt_sources",
    "list_segmenters",
    "list_trackers",
    "load_plugins",
    "register",
    "register_commands",
]


class _Process:
    lock = threading.Lock()
    manager: PluginManager | None = None


def load_plugins() -> PluginManager:
    """The plugin manager of this process. The first call imports every installed plugin; none takes the host down."""
    with _Process.lock:
        if _Process.manager is None:
            _Process.manager = PluginManager.from_environment()
        manager = _Process.manager
    manager.load_entry_points()
    return manager


def register(plugin: object, name: str) -> None:
    """Register `plugin`, any object with functions marked `samovar.hookimpl`, in this process only.

    Raises:
        PluginError: the name is taken, or a hook is unknown, has wrong arguments, or is a wrapper.
    """
    load_plugins().register(plugin, name)


@contextmanager
def isolated(
    plugins: Mapping[str, object] | None = None, *, installed: bool = False, blocked: Collection[str] = ()
) -> Iterator[PluginManager]:
    """For tests: a process with only `plugins` (name → plugin) while the block runs, in every thread.

    With `installed=True` the installed plugins are there as well, except those named in `blocked`.

        with samovar.plugins.isolated({"mine": my_plugin}):
            assert [spec.name for spec in samovar.list_segmenters()] == ["mine"]
    """
    manager = PluginManager(blocked=blocked, installed=installed)
    manager.load_entry_points()
    for name, plugin in reversed(list((plugins or {}).items())):
        manager.register(plugin, name)  # hooks are called in the order of `plugins`, the last registered first
    with _Process.lock:
        before, _Process.manager = _Process.manager, manager
    try:
        yield manager
    finally:
        with _Process.lock:
            _Process.manager = before


def list_segmenters() -> list[SegmenterSpec]:
    """Every model that plugins bring, in the order of the plugins' names. Imports no model library."""
    return load_plugins().list_segmenters()


def list_prompt_sources() -> list[PromptSourceSpec]:
    """Every prompt source that plugins bring."""
    return load_plugins().list_prompt_sources()


def list_mask_sinks() -> list[MaskSinkSpec]:
    """Every mask sink that plugins bring."""
    return load_plugins().list_mask_sinks()


def list_cache_tiers() -> list[CacheTierSpec]:
    """Every cache tier that plugins bring."""
    return load_plugins().list_cache_tiers()


def list_trackers() -> list[TrackerSpec]:
    """Every tracker that plugins bring."""
    return load_plugins().list_trackers()


def list_inpainters() -> list[InpainterSpec]:
    """Every inpainter that plugins bring."""
    return load_plugins().list_inpainters()


def find_segmenter(name: str) -> SegmenterSpec:
    """The model of that name or alias. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(SegmenterSpec, name)


def find_prompt_source(name: str) -> PromptSourceSpec:
    """The prompt source of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(PromptSourceSpec, name)


def find_mask_sink(name: str) -> MaskSinkSpec:
    """The mask sink of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(MaskSinkSpec, name)


def find_cache_tier(name: str) -> CacheTierSpec:
    """The cache tier of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(CacheTierSpec, name)


def find_tracker(name: str) -> TrackerSpec:
    """The tracker of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(TrackerSpec, name)


def find_inpainter(name: str) -> InpainterSpec:
    """The inpainter of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(InpainterSpec, name)


def identify_weights(path: str | os.PathLike[str]) -> str | None:
    """The name of the model whose weights the file or folder `path` holds, or None if no plugin recognises it."""
    return load_plugins().identify_weights(Path(path))


def register_commands(cli: click.Group, taken: Iterable[str] = ()) -> None:
    """Put every plugin's commands on `cli`, except under the names in `taken`."""
    load_plugins().register_commands(cli, taken)


def fire_after_segment(event: SegmentEvent) -> None:
    """Tell every plugin that a call has answered its prompts."""
    load_plugins().after_segment(event)


def fire_on_evict(event: EvictEvent) -> None:
    """Tell every plugin that an entry has left the cache."""
    load_plugins().on_evict(event)
