"""What this package tells Samovar. Imported whenever plugins are listed, so it imports nothing heavy itself."""

from __future__ import annotations

from samovar.plugins import SegmenterSpec, hookimpl


@hookimpl
def register_segmenters() -> list[SegmenterSpec]:
    return [
        SegmenterSpec(
            name="threshold",
            target="samovar_threshold.segmenter:load",
            prompts=("points", "box"),
            summary="Otsu's threshold around the prompt: dark on light or light on dark",
            licence="Apache-2.0",
        )
    ]
