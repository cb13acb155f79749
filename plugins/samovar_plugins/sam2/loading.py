"""From published weights of SAM 2 to a segmenter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.errors import MissingExtraError
from samovar_plugins.sam.checkpoint import Contents, read_contents
from samovar_plugins.sam.loading import building, choose_dtype, fingerprint, require
from samovar_plugins.sam2.catalogue import MODELS, Model, recognise
from samovar_plugins.sam2.names import canonical, split_points
from samovar_plugins.sam2.with_memory import WithMemory
from samovar_plugins.weights import locate

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from samovar.cache import Cache
    from samovar_plugins.sam.segmenter import SamSegmenter
    from samovar_plugins.sam2.layout import Layout
    from samovar_plugins.sam2.memory import MemoryTracker

__all__ = ["assemble", "check_contents", "load_sam2"]


def load_sam2(name: str, *, weights: str | None, device: str, dtype: str) -> WithMemory:
    """The model `name`, ready on `device`, with its own tracker for video, which is loaded when it is asked for.

    Args:
        name: as in the catalogue.
        weights: a file, folder, hub id or URL; None for the published weights, downloaded on first use.
        device: "cpu", "cuda" or "cuda:1".
        dtype: "auto", "float32", "bfloat16" or "float16".

    Raises:
        WeightsError: weights that are missing, torn, unsafe or of another architecture.
        DeviceError: a dtype that the device cannot use, or a device that is not there.
        MissingExtraError: torch is not installed.
    """
    try:
        from samovar_plugins.sam.tensors import load_tensors
    except ModuleNotFoundError as error:
        raise MissingExtraError(f'model {name!r} needs torch; pip install "samovar[sam]"') from error
    chosen = choose_dtype(dtype, device)
    model = next(model for model in MODELS if model.name == name)
    path = locate(weights, model.source)
    contents = read_contents(path)
    check_contents(path, contents, model)
    tensors = split_points(canonical(load_tensors(path, contents)))
    segmenter = assemble(
        model.layout, tensors, fingerprint=fingerprint(name, path, chosen), device=device, dtype=chosen
    )

    def tracker(cache: Cache | None) -> MemoryTracker:
        from samovar_plugins.sam2.video import memory_tracker

        return memory_tracker(load_tensors(path, contents), segmenter, cache, dtype=chosen)

    return WithMemory(segmenter, tracker)


def check_contents(path: Path, contents: Contents, model: Model) -> None:
    """Raise WeightsError unless the checkpoint is whole, safe, and of the model's architecture."""
    found = recognise(canonical(contents.shapes), model)
    require(path, contents, model.name, found.model.name if found.model else None, found.words)


def assemble(
    layout: Layout,
    tensors: Mapping[str, Tensor],
    *,
    fingerprint: str,
    device: str,
    dtype: torch.dtype,
    frame: int = 1024,
) -> SamSegmenter:
    """A segmenter from tensors under Meta's names, for a frame of that side. Raises WeightsError if one is missing."""
    from samovar_plugins.sam.layers import State
    from samovar_plugins.sam.segmenter import SamSegmenter
    from samovar_plugins.sam2.networks import build

    with building():
        parts = build(layout, State(tensors, device, dtype), frame)
    return SamSegmenter(parts, fingerprint=fingerprint, device=device, dtype=dtype)
