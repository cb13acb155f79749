"""Registers EdgeTAM. Imports no model library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from samovar import hookimpl
from samovar.plugins import SegmenterSpec

__all__ = ["identify_weights", "register_segmenters"]


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """EdgeTAM."""
    from samovar_plugins.edge_tam.catalogue import SPEC

    return [SPEC]


@hookimpl
def identify_weights(path: Path) -> str | None:
    """Whether a checkpoint file or folder is EdgeTAM's, by the names and shapes of its tensors."""
    from samovar.errors import WeightsError
    from samovar_plugins.edge_tam.catalogue import NAME, recognise
    from samovar_plugins.edge_tam.names import canonical
    from samovar_plugins.sam.checkpoint import read_contents

    try:
        found, _ = recognise(canonical(read_contents(path).shapes))
    except WeightsError:
        return None
    return NAME if found == NAME else None
