"""Specs and plugins that tests register, simple enough to predict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from samovar import hookimpl
from samovar.plugins import CacheTierSpec, InpainterSpec, MaskSinkSpec, PromptSourceSpec, SegmenterSpec, TrackerSpec

__all__ = ["Bringing", "cache_tier", "inpainter", "mask_sink", "prompt_source", "segmenter", "tracker"]


def segmenter(name: str = "cups", **fields: Any) -> SegmenterSpec:
    given = {"target": "cups.model:load", "prompts": ("box",), "summary": "Finds cups", "licence": "MIT", **fields}
    return SegmenterSpec(name=name, **given)


def prompt_source(name: str = "saucers", **fields: Any) -> PromptSourceSpec:
    return PromptSourceSpec(
        name=name, **{"target": "cups:saucers", "summary": "Saucers", "produces": ("box",), **fields}
    )


def mask_sink(name: str = "svg", **fields: Any) -> MaskSinkSpec:
    return MaskSinkSpec(name=name, **{"target": "cups:Svg", "summary": "Drawings", "suffix": "", **fields})


def cache_tier(name: str = "redis", **fields: Any) -> CacheTierSpec:
    return CacheTierSpec(name=name, **{"target": "cups:Redis", "summary": "Over the network", **fields})


def tracker(name: str = "nearest", **fields: Any) -> TrackerSpec:
    return TrackerSpec(name=name, **{"target": "cups:Nearest", "summary": "Where it was last", **fields})


def inpainter(name: str = "mean", **fields: Any) -> InpainterSpec:
    return InpainterSpec(name=name, **{"target": "cups:open_mean", "summary": "The mean around it", **fields})


class Bringing:
    """A plugin that brings the segmenters it is made with, and counts how often it is asked."""

    def __init__(self, *specs: SegmenterSpec) -> None:
        self.specs = specs
        self.asked = 0

    @hookimpl
    def register_segmenters(self) -> Iterable[SegmenterSpec]:
        self.asked += 1
        return self.specs
