"""Registers the SAM family. Imports no model library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from samovar import hookimpl
from samovar.plugins import SegmenterSpec

__all__ = ["identify_weights", "register_segmenters"]


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """SAM, SAM-HQ, MobileSAM and EfficientSAM."""
    from samovar_plugins.sam.catalogue import specs

    return specs()


@hookimpl
def identify_weights(path: Path) -> str | None:
    """Which of them a checkpoint file or folder is for, by the names and shapes of its tensors."""
    from samovar.errors import WeightsError
    from samovar_plugins.sam.catalogue import recognise
    from samovar_plugins.sam.checkpoint import read_contents
    from samovar_plugins.sam.names import canonical

    try:
        found = recognise(canonical(read_contents(path).shapes))
    except WeightsError:
        return None
    return found.model.name if found.model else None
