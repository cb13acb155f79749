"""Loading the tensors of a checkpoint whose table of contents has been read and found harmless."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from samovar.errors import WeightsError
from samovar_plugins.sam.checkpoint import Contents, files_of

__all__ = ["load_tensors"]

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load_tensors(path: Path, contents: Contents, prefix: str | tuple[str, ...] = "") -> dict[str, Tensor]:
    """Name → tensor of the checkpoint `path`, a file or a folder; only names that begin with `prefix`.

    Raises WeightsError for a torn or unsafe file.
    """
    tensors: dict[str, Tensor] = {}
    for file in files_of(path):
        with file.open("rb") as stream:
            start = stream.read(9)
        safe = file.suffix == ".safetensors" or start[8:9] == b"{"
        found = _safetensors(file, prefix) if safe else _pickled(file, contents.inside)
        tensors.update((name, tensor) for name, tensor in found.items() if name.startswith(prefix))
    return tensors


def _pickled(path: Path, inside: str | None) -> Mapping[str, Tensor]:
    try:
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(f"{path} is torn: {reason[0]:.100}; download it again") from error
    if inside is not None:
        value = value[inside]
    return {str(name): tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}


def _is_zip(path: Path) -> bool:
    """Whether the file can be mapped into memory rather than read."""
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


def _safetensors(path: Path, prefix: str | tuple[str, ...]) -> Mapping[str, Tensor]:
    with path.open("rb") as stream:
        length = struct.unpack("<Q", stream.read(8))[0]
        table = json.loads(stream.read(length))
    # Private and copy on write: the tensors may be written to without the file noticing.
    data = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)[8 + length :]
    tensors = {}
    for name, entry in table.items():
        if name == "__metadata__" or not name.startswith(prefix):
            continue
        if entry["dtype"] not in _DTYPES:
            raise WeightsError(f"{path}: tensor {name!r} is {entry['dtype']}; expected {', '.join(_DTYPES)}")
        begin, end = entry["data_offsets"]
        # The format aligns nothing; a copy does.
        tensors[name] = data[begin:end].clone().view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors
