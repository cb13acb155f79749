"""Registers SAM 3. Imports no model library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from samovar import hookimpl
from samovar.plugins import SegmenterSpec

__all__ = ["identify_weights", "register_segmenters"]


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """SAM 3."""
    from samovar_plugins.sam3.catalogue import SPEC

    return [SPEC]


@hookimpl
def identify_weights(path: Path) -> str | None:
    """Whether a checkpoint file or folder is SAM 3's, by the names of its tensors."""
    from samovar.errors import WeightsError
    from samovar_plugins.sam.checkpoint import read_contents
    from samovar_plugins.sam3.catalogue import NAME, recognise

    try:
        found, _ = recognise(read_contents(path).shapes)
    except WeightsError:
        return None
    return NAME if found == NAME else None
