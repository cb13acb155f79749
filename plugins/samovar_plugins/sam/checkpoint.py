"""What a checkpoint holds, by its header alone: names and shapes of tensors, with no torch and nothing executed.

A `.pth` file is a pickle, and a pickle is a program. The reader here follows it with an unpickler that knows four
harmless names, all of which only build a table of shapes; anything else that the file asks for is replaced by an object
that does nothing, and noted by its name. `.safetensors` files begin with a table of their own.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from samovar.errors import WeightsError

__all__ = ["Contents", "Shape", "files_of", "read_contents"]

Shape = tuple[int, ...]

_NAMES = ("model.safetensors", "pytorch_model.bin")
_MAGIC = 0x1950A86A20F9469CFC6C
_LONGEST = 100 << 20
"""Bytes of a table of contents, at most: a zip file of a few kilobytes can hold one of gigabytes."""
_NESTED = ("model", "state_dict", "model_state_dict")


@dataclass(frozen=True)
class Contents:
    """A checkpoint's tensors.

    Attributes:
        shapes: name → shape.
        inside: the key that the state dict is nested under, or None.
        missing: what is wrong with the file as a whole ("ends after 3 of 8 MB"), or None.
        foreign: what else than tensors it would build or run when loaded by an ordinary unpickler, by name.
    """

    shapes: Mapping[str, Shape]
    inside: str | None = None
    missing: str | None = None
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tensor:
    shape: Shape
    nbytes: int


def files_of(path: Path) -> list[Path]:
    """The file or files of tensors that `path`, a file or a folder as Hugging Face lays it out, stands for.

    Raises WeightsError for a folder without any.
    """
    if not path.is_dir():
        return [path]
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError):
            raise WeightsError(f"{index} is no index of safetensors files; download the folder again") from None
        # Only plain names: an index is data, and must not name files elsewhere.
        return [path / Path(str(name)).name for name in sorted(names)]
    for name in _NAMES:
        if (path / name).is_file():
            return [path / name]
    found = sorted(file for pattern in ("*.safetensors", "*.pth", "*.pt") for file in path.glob(pattern))
    if len(found) == 1:
        return found
    raise WeightsError(
        f"expected {' or '.join(_NAMES)} in {path}; found {len(found) or 'no'} checkpoints; name the file"
    )


def read_contents(path: Path) -> Contents:
    """What the checkpoint `path` (a file or a folder) holds.

    Raises WeightsError for a file that is no checkpoint, or is torn before the end of its table of contents.
    """
    parts = [_read_file(file) for file in files_of(path)]
    shapes = {name: shape for part in parts for name, shape in part.shapes.items()}
    return Contents(
        shapes,
        parts[0].inside,
        next((part.missing for part in parts if part.missing), None),
        tuple(name for part in parts for name in part.foreign),
    )


def _read_file(path: Path) -> Contents:
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
            if path.suffix == ".safetensors" or (len(start) == 16 and start[8:9] == b"{"):
                return _read_safetensors(path, stream)
            return _read_pickle(path, stream, start)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}; check the path") from error


def _read_safetensors(path: Path, stream: IO[bytes]) -> Contents:
    size = path.stat().st_size
    stream.seek(0)
    start = stream.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(size - 8, _LONGEST):
        raise WeightsError(f"{path} is torn: its table of contents is cut off; download it again")
    try:
        table = json.loads(stream.read(length))
        entries = {name: entry for name, entry in table.items() if name != "__metadata__"}
        shapes = {name: tuple(int(extent) for extent in entry["shape"]) for name, entry in entries.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError(f"{path} is no safetensors file: its table of contents is malformed") from None
    return Contents(shapes, missing=_cut(size, end))


def _read_pickle(path: Path, stream: IO[bytes], start: bytes) -> Contents:
    if start[:4] == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(stream) as archive:
                names = archive.namelist()
                pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
                if not pickles:
                    raise WeightsError(f"{path} is a zip file without tensors; unzip it and name the checkpoint inside")
                if any(name.rpartition("/")[2] == "constants.pkl" for name in names):
                    raise WeightsError(
                        f"{path} is a TorchScript program; expected weights only: use the state dict file"
                    )
                with archive.open(pickles[0]) as packed:
                    table = packed.read(_LONGEST + 1)
                if len(table) > _LONGEST:
                    raise WeightsError(f"{path} has a table of contents longer than any checkpoint's; do not load it")
                return _contents(*_unpickle(path, io.BytesIO(table)), None)
        except (zipfile.BadZipFile, EOFError, ValueError):
            return _read_torn(path, stream)
    if start[:1] == b"\x80":
        stream.seek(0)
        value, foreign = _unpickle(path, stream)
        if value == _MAGIC:  # before torch 1.6: then follow a version, facts about the system, and the tensors
            for _ in range(3):
                value, more = _unpickle(path, stream)
                foreign += more
        return _contents(value, foreign, None)
    raise WeightsError(f"{path} is no checkpoint: expected a .pth, .pt or .safetensors file")


def _read_torn(path: Path, stream: IO[bytes]) -> Contents:
    """A zip file without its directory, which comes last. Its first entry is the pickle, after a header of 30 bytes."""
    stream.seek(0)
    head = stream.read(30)
    if len(head) < 30:
        raise WeightsError(f"{path} is torn: it ends after {len(head)} bytes; download it again")
    name, extra = struct.unpack("<HH", head[26:30])
    stream.seek(30 + name + extra)
    return _contents(*_unpickle(path, stream), path.stat().st_size)


def _contents(value: Any, foreign: tuple[str, ...], size: int | None) -> Contents:
    """From what the pickle built; `size` of the file if it is known to be torn."""
    inside = None
    for key in _NESTED:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            inside, value = key, value[key]
            break
    items = value.items() if isinstance(value, Mapping) else ()
    tensors = {str(name): item for name, item in items if isinstance(item, _Tensor)}
    missing = None
    if size is not None:
        missing = _cut(size, sum(tensor.nbytes for tensor in tensors.values())) or "its end is missing"
    return Contents({name: tensor.shape for name, tensor in tensors.items()}, inside, missing, foreign)


def _cut(size: int, expected: int) -> str | None:
    if size >= expected:
        return None
    return f"it ends after {size / 1e6:.1f} of {expected / 1e6:.1f} MB"


_TORN = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    MemoryError,  # for a length beyond all memory
)
"""What following a pickle of arbitrary bytes may raise."""


def _unpickle(path: Path, stream: IO[bytes]) -> tuple[Any, tuple[str, ...]]:
    """What the next pickle in the stream builds, and what it asked for beyond tensors."""
    reader = _Reader(stream)
    try:
        return reader.load(), tuple(reader.foreign)
    except _TORN:
        raise WeightsError(
            f"{path} is torn or no checkpoint: its table of contents is cut off; download it again"
        ) from None


class _Inert:
    """Stands for whatever a pickle asks for beyond tensors, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Nothing."""

    extend = append


class _Reader(pickle._Unpickler):
    """Follows a checkpoint's pickle and builds shapes where torch would build tensors. Can call nothing else.

    It is the unpickler in Python: the one in C makes room for as many objects as ten bytes of a file may say.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, encoding="latin1")
        self.foreign: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name that the pickle asks for."""
        if module == "torch" and name.endswith("Storage"):
            return _ITEM.get(name.removesuffix("Storage"), 4)
        if (module, name) not in _KNOWN:
            self.foreign.append(f"{module}.{name}")
            return _Inert
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> int:
        """Bytes an element of the storage takes."""
        return pid[1] if isinstance(pid[1], int) else 4


_ITEM = {
    "Float": 4,
    "Double": 8,
    "Half": 2,
    "BFloat16": 2,
    "Long": 8,
    "Int": 4,
    "Short": 2,
    "Byte": 1,
    "Char": 1,
    "Bool": 1,
}


def _tensor(item: int, _offset: int, shape: tuple[int, ...], *_: Any) -> _Tensor:
    extents = tuple(int(extent) for extent in shape)
    return _Tensor(extents, item * math.prod(extents))


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
