"""From EdgeTAM's published weights to a segmenter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from samovar.errors import MissingExtraError
from samovar_plugins.edge_tam.catalogue import SOURCE, recognise
from samovar_plugins.edge_tam.names import canonical
from samovar_plugins.sam.checkpoint import read_contents
from samovar_plugins.sam.loading import building, choose_dtype, fingerprint, require
from samovar_plugins.sam2.names import split_points
from samovar_plugins.sam2.with_memory import WithMemory
from samovar_plugins.weights import locate

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from samovar.cache import Cache
    from samovar_plugins.sam.segmenter import SamSegmenter
    from samovar_plugins.sam2.memory import MemoryTracker

__all__ = ["assemble", "load_edge_tam", "with_memory"]


def load_edge_tam(name: str, *, weights: str | None, device: str, dtype: str) -> WithMemory:
    """EdgeTAM, ready on `device`, with its own tracker for video, which is loaded when it is asked for.

    Args:
        name: "edge-tam".
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
    path = locate(weights, SOURCE)
    contents = read_contents(path)
    require(path, contents, name, *recognise(canonical(contents.shapes)))
    tensors = split_points(canonical(load_tensors(path, contents)))
    segmenter = assemble(tensors, fingerprint=fingerprint(name, path, chosen), device=device, dtype=chosen)
    return with_memory(segmenter, partial(load_tensors, path, contents), chosen)


def with_memory(segmenter: SamSegmenter, load: Callable[[], Mapping[str, Tensor]], dtype: torch.dtype) -> WithMemory:
    """The segmenter with a tracker of the same weights, which `load` reads when the tracker is asked for."""

    def tracker(cache: Cache | None) -> MemoryTracker:
        from samovar_plugins.edge_tam.memory import memory_tracker

        return memory_tracker(load(), segmenter, cache, dtype=dtype)

    return WithMemory(segmenter, tracker)


def assemble(
    tensors: Mapping[str, Tensor], *, fingerprint: str, device: str, dtype: torch.dtype, frame: int = 1024
) -> SamSegmenter:
    """A segmenter from tensors under Meta's names, for a frame of that side. Raises WeightsError if one is missing."""
    from samovar_plugins.edge_tam.rep_vit import RepVit
    from samovar_plugins.sam.layers import State
    from samovar_plugins.sam.segmenter import SamSegmenter
    from samovar_plugins.sam2.networks import build_around

    with building():
        state = State(tensors, device, dtype)
        parts = build_around(RepVit(state.at("image_encoder.trunk.body"), frame), state)
    return SamSegmenter(parts, fingerprint=fingerprint, device=device, dtype=dtype)
