"""The hooks: what a plugin may implement, and when each is called.

Hooks discover, protocols execute: a hook is called once a process or once an event, never once a prompt. Hooks return
values and change nothing. Each plugin is called on its own, so a hook that raises spoils only its own answer. A plugin
implements any of them as functions of the same name, marked with `samovar.hookimpl`:

    import samovar
    from samovar.plugins import SegmenterSpec

    @samovar.hookimpl
    def register_segmenters():
        return [SegmenterSpec(name="mine", target="my_package.model:load", …)]
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
    """The models this plugin brings. Called once a process, when models are first listed or looked up.

    ```python
    @samovar.hookimpl
    def register_segmenters():
        return [
            SegmenterSpec(
                name="threshold",
                target="samovar_threshold.segmenter:load",
                prompts=("points", "box"),
                summary="Otsu's threshold around the prompt",
                licence="Apache-2.0",
            )
        ]
    ```
    """


@hookspec
def register_prompt_sources() -> Iterable[PromptSourceSpec]:  # type: ignore[empty-body]
    """The prompt sources this plugin brings. Called once a process, when they are first listed or looked up.

    ```python
    @samovar.hookimpl
    def register_prompt_sources():
        return [
            PromptSourceSpec(
                name="plates",
                target="plate_finder.source:load",
                summary="Boxes around licence plates",
                produces=("box",),
            )
        ]
    ```
    """


@hookspec
def register_mask_sinks() -> Iterable[MaskSinkSpec]:  # type: ignore[empty-body]
    """The mask sinks this plugin brings. Called once a process, when they are first listed or looked up.

    ```python
    @samovar.hookimpl
    def register_mask_sinks():
        return [
            MaskSinkSpec(
                name="svg",
                target="svg_masks.sink:SvgSink",
                summary="One SVG file an image",
                suffix="",
            )
        ]
    ```
    """


@hookspec
def register_cache_tiers() -> Iterable[CacheTierSpec]:  # type: ignore[empty-body]
    """The places this plugin can keep embeddings in. Called once a process, when they are first listed or looked up.

    ```python
    @samovar.hookimpl
    def register_cache_tiers():
        return [
            CacheTierSpec(
                name="redis",
                target="redis_tier:open_tier",
                summary="Embeddings shared over Redis",
                argument="URL",
            )
        ]
    ```
    """


@hookspec
def register_trackers() -> Iterable[TrackerSpec]:  # type: ignore[empty-body]
    """The trackers for any segmenter that this plugin brings. Called once a process, when they are first looked up.

    ```python
    @samovar.hookimpl
    def register_trackers():
        return [
            TrackerSpec(
                name="nearest",
                target="nearest_tracker:NearestTracker",
                summary="Segments each object anew where it was last",
            )
        ]
    ```
    """


@hookspec
def register_inpainters() -> Iterable[InpainterSpec]:  # type: ignore[empty-body]
    """The inpainters this plugin brings. Called once a process, when they are first listed or looked up.

    ```python
    @samovar.hookimpl
    def register_inpainters():
        return [
            InpainterSpec(
                name="mean",
                target="mean_inpainter:open_mean",
                summary="Fills a hole with the mean colour around it",
            )
        ]
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
