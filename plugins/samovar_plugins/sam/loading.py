"""From published weights to a segmenter."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.errors import DeviceError, MissingExtraError, WeightsError
from samovar_plugins.sam.catalogue import MODELS, Family, Model, recognise
from samovar_plugins.sam.checkpoint import Contents, files_of, read_contents
from samovar_plugins.sam.names import canonical
from samovar_plugins.weights import locate

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from samovar_plugins.sam.segmenter import SamSegmenter

__all__ = ["assemble", "building", "check_contents", "choose_dtype", "fingerprint", "load_sam", "require"]

VERSION = 1
"""Raised when the same weights would give other embeddings than before."""


def load_sam(name: str, *, weights: str | None, device: str, dtype: str) -> SamSegmenter:
    """The model `name` of this family, ready on `device`.

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
    tensors = canonical(load_tensors(path, contents))
    return assemble(model.family, tensors, fingerprint=fingerprint(name, path, chosen), device=device, dtype=chosen)


def check_contents(path: Path, contents: Contents, model: Model) -> None:
    """Raise WeightsError unless the checkpoint is whole, safe, and of the model's architecture."""
    found = recognise(canonical(contents.shapes))
    require(path, contents, model.name, found.model.name if found.model else None, found.words)


def require(path: Path, contents: Contents, expected: str, found: str | None, words: str) -> None:
    """Raise WeightsError unless a checkpoint is whole, safe, and of the model `expected`.

    Args:
        path: where it is.
        contents: what it holds.
        expected: name of the model that it is wanted for.
        found: name of the model that it is for, if it is a known one's.
        words: what it looks like.
    """
    if contents.foreign:
        what = contents.foreign[0]
        raise WeightsError(
            f"{path} would run {what} when loaded; expected tensors only; do not load it, or get it as .safetensors"
        )
    if contents.missing:
        raise WeightsError(f"{path} is torn: {contents.missing}; it looks like {words}; download it again")
    if found != expected:
        hint = f"load it as {found!r}" if found else "name the model that it is for"
        raise WeightsError(f"{path} looks like {words}; expected weights of {expected}; {hint}")


def choose_dtype(dtype: str, device: str) -> torch.dtype:
    """The torch dtype for one by name: "auto" is float32 on a CPU and bfloat16 elsewhere. Raises DeviceError."""
    import torch

    if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {device!r} is not on this machine; use --device cpu")
    on_cpu = device == "cpu"
    if dtype == "float16" and on_cpu:
        raise DeviceError(
            "float16 is not usable on a CPU (minutes an image); expected float32 or bfloat16; use --dtype auto"
        )
    if dtype == "auto":
        return torch.float32 if on_cpu else torch.bfloat16
    chosen: torch.dtype = getattr(torch, dtype)
    return chosen


def fingerprint(name: str, path: Path, dtype: torch.dtype) -> str:
    """Identifies the weights by their bytes, and what is done with them by the model's name, dtype and `VERSION`."""
    from blake3 import blake3

    # A number, not blake3.AUTO: that would use a pool of the whole process, which a forked child waits for in vain.
    hasher = blake3(max_threads=min(4, os.cpu_count() or 1))
    for file in files_of(path):
        hasher.update_mmap(file)
    return f"{name}-{hasher.hexdigest(length=16)}-{str(dtype).removeprefix('torch.')}-{VERSION}"


@contextmanager
def building() -> Iterator[None]:
    """While networks are built of tensors: those that do not fit together raise WeightsError."""
    import torch

    try:
        with torch.inference_mode():
            yield
    except (RuntimeError, IndexError, ValueError) as error:
        raise WeightsError(
            f"expected tensors that fit together; got others ({str(error).splitlines()[0]:.100}); "
            "download the weights again"
        ) from error


def assemble(
    family: Family, tensors: Mapping[str, Tensor], *, fingerprint: str, device: str, dtype: torch.dtype
) -> SamSegmenter:
    """A segmenter of a family from tensors under Meta's names; its sizes are those of the tensors.

    Raises WeightsError if one is missing or of another shape than the others need.
    """
    from samovar_plugins.sam.layers import State
    from samovar_plugins.sam.networks import build
    from samovar_plugins.sam.segmenter import SamSegmenter

    with building():
        parts = build(family, State(tensors, device, dtype))
    return SamSegmenter(parts, fingerprint=fingerprint, device=device, dtype=dtype)
