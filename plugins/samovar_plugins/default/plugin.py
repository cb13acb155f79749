"""Registers the embedded default segmenter. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from samovar.plugins import SegmenterSpec, hookimpl

__all__ = ["register_segmenters"]


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """The one segmenter that needs no weights, no network and no GPU."""
    return [
        SegmenterSpec(
            name="default",
            target="samovar_plugins.default.segmenter:load",
            prompts=("points", "box", "mask"),
            summary="region hierarchy with small fitted classifiers; no download, no GPU",
            licence="Apache-2.0",
            embedding_bytes=1_600_000,
        )
    ]
