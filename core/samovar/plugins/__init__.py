"""Plugins: how models, prompt sources, mask sinks, cache tiers, trackers, inpainters and commands are found.

A plugin is a module that an installed package names in the entry-point group `samovar`. It implements some of the hooks
in `samovar.plugins.hookspecs`, and describes what it brings by specs. Samovar's own are found the same way.
"""

from __future__ import annotations

from samovar.events import EvictEvent, SegmentEvent
from samovar.plugins.hookspecs import hookimpl
from samovar.plugins.manager import (
    PluginManager,
    find_cache_tier,
    find_inpainter,
    find_mask_sink,
    find_prompt_source,
    find_segmenter,
    find_tracker,
    fire_after_segment,
    fire_on_evict,
    identify_weights,
    isolated,
    list_cache_tiers,
    list_inpainters,
    list_mask_sinks,
    list_prompt_sources,
    list_segmenters,
    list_trackers,
    load_plugins,
    override_plugins,
    register,
    register_commands,
)
from samovar.plugins.registry import PluginInfo, Registration, Registrations
from samovar.plugins.resolve import requirement_of, resolve, split_argument
from samovar.plugins.specs import (
    CacheTierSpec,
    InpainterSpec,
    MaskSinkSpec,
    PromptSourceSpec,
    SegmenterSpec,
    Spec,
    TrackerSpec,
)

__all__ = [
    "CacheTierSpec",
    "EvictEvent",
    "InpainterSpec",
    "MaskSinkSpec",
    "PluginInfo",
    "PluginManager",
    "PromptSourceSpec",
    "Registration",
    "Registrations",
    "SegmentEvent",
    "SegmenterSpec",
    "Spec",
    "TrackerSpec",
    "find_cache_tier",
    "find_inpainter",
    "find_mask_sink",
    "find_prompt_source",
    "find_segmenter",
    "find_tracker",
    "fire_after_segment",
    "fire_on_evict",
    "hookimpl",
    "identify_weights",
    "isolated",
    "list_cache_tiers",
    "list_inpainters",
    "list_mask_sinks",
    "list_prompt_sources",
    "list_segmenters",
    "list_trackers",
    "load_plugins",
    "override_plugins",
    "register",
    "register_commands",
    "requirement_of",
    "resolve",
    "split_argument",
]
