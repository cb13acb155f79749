"""The hooks: what a plugin may implement, and when each is called.

Hooks discover, protocols execute: a hook is called once a process or once an event, never once a prompt. Hooks return
values and change nothing. Each plugin is called on its own, so a hook that raises spoils only its own answer. A plugin
implements any of them as functions of the same name, marked with `samovar.hookimpl`. The hooks that register are called
when what they bring is first listed or looked up.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    import click

    from samovar.events import EvictEvent, SegmentEvent
    from samovar.plugins.specs import (
        CacheTierSpec,
        InpainterSpec,
        MaskSinkSpec,
        PromptSourceSpec,
        SegmenterSpec,
        TrackerSpec,
    )

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "samovar"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec
def register_segmenters() -> Iterable[SegmenterSpec]:  # type: ignore[empty-body]
    """The models this plugin brings.

    ```python
    @samovar.hookimpl
    def register_segmenters():
        return [SegmenterSpec("threshold", "my_threshold:load", ("points", "box"), "Otsu's threshold", "Apache-2.0")]
    ```
    """


@hookspec
def register_prompt_sources() -> Iterable[PromptSourceSpec]:  # type: ignore[empty-body]
    """The prompt sources this plugin brings.

    ```python
    @samovar.hookimpl
    def register_prompt_sources():
        return [PromptSourceSpec("plates", "plate_finder:load", "Boxes around licence plates", produces=("box",))]
    ```
    """


@hookspec
def register_mask_sinks() -> Iterable[MaskSinkSpec]:  # type: ignore[empty-body]
    """The mask sinks this plugin brings.

    ```python
    @samovar.hookimpl
    def register_mask_sinks():
        return [MaskSinkSpec("svg", "svg_masks:SvgSink", "One SVG file an image", suffix="")]
    ```
    """


@hookspec
def register_cache_tiers() -> Iterable[CacheTierSpec]:  # type: ignore[empty-body]
    """The places this plugin can keep embeddings in.

    ```python
    @samovar.hookimpl
    def register_cache_tiers():
        return [CacheTierSpec("redis", "redis_tier:open_tier", "Embeddings shared over Redis", argument="URL")]
    ```
    """


@hookspec
def register_trackers() -> Iterable[TrackerSpec]:  # type: ignore[empty-body]
    """The trackers for any segmenter that this plugin brings.

    ```python
    @samovar.hookimpl
    def register_trackers():
        return [TrackerSpec("nearest", "nearest_tracker:NearestTracker", "Segments each object where it was last")]
    ```
    """


@hookspec
def register_inpainters() -> Iterable[InpainterSpec]:  # type: ignore[empty-body]
    """The inpainters this plugin brings.

    ```python
    @samovar.hookimpl
    def register_inpainters():
        return [InpainterSpec("mean", "mean_inpainter:open_mean", "Fills a hole with the mean colour around it")]
    ```
    """


@hookspec(historic=True)
def register_commands(cli: click.Group) -> None:
    """Add commands to the `samovar` command line. Historic: a plugin registered later is called with the same `cli`.

    `cli` starts empty and takes commands and groups; those whose names are free are then put on the command line. A
    plugin that raises adds none. Import what a command needs inside it, so that `samovar --help` stays fast.

    ```python
    @samovar.hookimpl
    def register_commands(cli):
        @cli.command()
        def hello():
            "Say hello."
            print("hello")
    ```
    """


@hookspec(firstresult=True)
def identify_weights(path: Path) -> str | None:
    """The name of the model whose weights the file or folder `path` holds, or None if it is none of this plugin's.

    Called when a model is loaded by path; the first plugin that answers wins. Look at names and headers only: load
    no tensors, and never unpickle.

    ```python
    @samovar.hookimpl
    def identify_weights(path):
        return "threshold" if path.suffix == ".threshold" else None
    ```
    """


@hookspec
def after_segment(event: SegmentEvent) -> None:
    """A call of the runtime has answered its prompts. For metrics and logging; called in the thread of the call.

    ```python
    @samovar.hookimpl
    def after_segment(event):
        print(event.model, event.masks, event.decode_seconds)
    ```
    """


@hookspec
def on_evict(event: EvictEvent) -> None:
    """An entry has left a tier of the cache. For metrics and logging; called in the thread that evicted it.

    ```python
    @samovar.hookimpl
    def on_evict(event):
        print(event.tier, event.key, event.nbytes, event.reason)
    ```
    """
