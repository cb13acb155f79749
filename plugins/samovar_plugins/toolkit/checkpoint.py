"""What a checkpoint holds, by its header alone: names and shapes of tensors, with no torch and nothing executed.

A `.pth` file is a pickle, and a pickle is a program. The reader here follows it with an unpickler that knows four
harmless names, all of which only build a table of shapes; anything else that the file asks for is replaced by an
object that does nothing, and, unless torch's own loader of weights builds it too, noted by its name. `.safetensors`
files begin with a table of their own.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from samovar.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CheckpointHeader", "Shape", "files_of", "load_tensors", "read_header"]

Shape = tuple[int, ...]

_NAMES = ("model.safetensors", "pytorch_model.bin")
_INDEXES = tuple(f"{name}.index.json" for name in _NAMES)
_MAGIC = 0x1950A86A20F9469CFC6C
_DEEPEST = 4
"""Mappings that a state dict may lie in, and wrappers that names may have."""
_LONGEST = 100 << 20
"""Bytes of a table of contents, at most: a zip file of a few kilobytes can hold one of gigabytes."""
_NESTED = ("model", "state_dict", "model_state_dict", "model_state", "net", "ema", "params", "sam", "module")
"""What trainers call the state dict among what they save, the likeliest first."""
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "ema.", "sam.")
"""What trainers put before the names of a model's tensors: DDP, torch.compile, Lightning, micro-sam …"""


@dataclass(frozen=True)
class CheckpointHeader:
    """A checkpoint's tensors.

    Attributes:
        shapes: name → shape.
        inside: the keys that the state dict is nested under, the outermost first.
        wrappers: what names in the file begin with and those in `shapes` do not, the outermost first.
        missing: what is wrong with the file as a whole ("ends after 3 of 8 MB"), or None.
        foreign: what else than tensors it would build or run when loaded by an ordinary unpickler, by name.
    """

    shapes: Mapping[str, Shape]
    inside: tuple[str, ...] = ()
    missing: str | None = None
    foreign: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()

    def unwrapped(self) -> Iterator[CheckpointHeader]:
        """The same as it is, and then without each prefix that trainers put before names, and without two of them …"""
        yield self
        for wrapper in _WRAPPERS if len(self.wrappers) < _DEEPEST else ():
            if any(name.startswith(wrapper) for name in self.shapes):
                shapes = {name.removeprefix(wrapper): shape for name, shape in self.shapes.items()}
                yield from replace(self, shapes=shapes, wrappers=(*self.wrappers, wrapper)).unwrapped()

    def plain(self, name: str) -> str:
        """A name in the file as it is in `shapes`."""
        for wrapper in self.wrappers:
            name = name.removeprefix(wrapper)
        return name


class _Tensor(NamedTuple):
    shape: Shape
    nbytes: int


def files_of(path: Path) -> list[Path]:
    """The file or files of tensors that `path`, a file or a folder as Hugging Face lays it out, stands for.

    Raises WeightsError for a folder without any.
    """
    if not path.is_dir():
        return [path]
    for index in (path / name for name in _INDEXES if (path / name).is_file()):
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError):
            raise WeightsError(f"{index} is no index of the files of a model; download the folder again") from None
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


def read_header(path: Path) -> CheckpointHeader:
    """What the checkpoint `path` (a file or a folder) holds.

    Raises WeightsError for a file that is no checkpoint, or is torn before the end of its table of contents.
    """
    parts = [_read_file(file) for file in files_of(path)]
    shapes = {name: shape for part in parts for name, shape in part.shapes.items()}
    return CheckpointHeader(
        shapes,
        parts[0].inside,
        next((part.missing for part in parts if part.missing), None),
        tuple(name for part in parts for name in part.foreign),
    )


def _read_file(path: Path) -> CheckpointHeader:
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
            if path.suffix == ".safetensors" or (len(start) == 16 and start[8:9] == b"{"):
                return _read_safetensors(path, stream)
            return _read_pickle(path, stream, start)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}; check the path") from error


def _read_safetensors(path: Path, stream: IO[bytes]) -> CheckpointHeader:
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
    return CheckpointHeader(shapes, missing=_cut(size, end))


def _read_pickle(path: Path, stream: IO[bytes], start: bytes) -> CheckpointHeader:
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
    raise WeightsError(f"{path} is {_stranger(start)}: expected a .pth, .pt or .safetensors file")


def _stranger(start: bytes) -> str:
    """What a file that is no checkpoint is, by how it begins."""
    if start.startswith(b"version https://"):
        return "a git-LFS pointer and not the file itself (run git lfs pull)"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page (open the address in a browser to see what it says)"
    return "no checkpoint"


def _read_torn(path: Path, stream: IO[bytes]) -> CheckpointHeader:
    """A zip file without its directory, which comes last. Its first entry is the pickle, after a header of 30 bytes."""
    stream.seek(0)
    head = stream.read(30)
    if len(head) < 30:
        raise WeightsError(f"{path} is torn: it ends after {len(head)} bytes; download it again")
    name, extra = struct.unpack("<HH", head[26:30])
    stream.seek(30 + name + extra)
    return _contents(*_unpickle(path, stream), path.stat().st_size)


def _contents(value: Any, foreign: tuple[str, ...], size: int | None) -> CheckpointHeader:
    """From what the pickle built; `size` of the file if it is known to be torn."""
    inside: tuple[str, ...] = ()
    while isinstance(value, Mapping):
        key = next((key for key in _NESTED if isinstance(value.get(key), Mapping)), None)
        if key is None or len(inside) == _DEEPEST:
            break
        inside, value = (*inside, key), value[key]
    items = value.items() if isinstance(value, Mapping) else ()
    tensors = {str(name): item for name, item in items if isinstance(item, _Tensor)}
    missing = None
    if size is not None:
        missing = _cut(size, sum(tensor.nbytes for tensor in tensors.values())) or "its end is missing"
    return CheckpointHeader({name: tensor.shape for name, tensor in tensors.items()}, inside, missing, foreign)


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
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if (module, name) not in _HARMLESS and not (module == "torch" and _DTYPE.fullmatch(name)):
            self.foreign.append(f"{module}.{name}")
        return _Inert

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

_HARMLESS = {
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("collections", "Counter"),
    ("_codecs", "encode"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "bytearray", "complex")),
}
"""What torch builds too when it is asked for nothing but weights, beside their tensors."""
_DTYPE = re.compile(r"(b?float|u?int|complex|q[u]?int)\d+\w*|bool")


def load_tensors(path: Path, header: CheckpointHeader, prefix: str | tuple[str, ...] = "") -> dict[str, Tensor]:
    """Name → tensor of the checkpoint `path`, a file or a folder, under the names of `header.shapes`.

    Tensors of zip and safetensors files are mapped from the file, not read: take copies of those that are kept.

    Args:
        header: of the checkpoint, which has been found harmless.
        prefix: only names that begin with it, or with one of them.

    Raises WeightsError for a torn or unsafe file.
    """
    tensors: dict[str, Tensor] = {}
    for file in files_of(path):
        with file.open("rb") as stream:
            start = stream.read(9)
        safe = file.suffix == ".safetensors" or start[8:9] == b"{"
        found = _safetensors(file) if safe else _pickled(file, header.inside)
        named = ((header.plain(name), tensor) for name, tensor in found.items())
        tensors.update((name, tensor) for name, tensor in named if name.startswith(prefix))
    return tensors


def _pickled(path: Path, inside: tuple[str, ...]) -> Mapping[str, Tensor]:
    import torch

    with path.open("rb") as stream:
        mapped = stream.read(2) == b"PK"
    try:
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(f"{path} is torn: {reason[0]:.100}; download it again") from error
    for key in inside:
        value = value[key]
    return {str(name): tensor for name, tensor in value.items() if isinstance(tensor, torch.Tensor)}


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    import torch

    dtypes = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
        "U8": torch.uint8,
        "BOOL": torch.bool,
    }
    with path.open("rb") as stream:
        length = struct.unpack("<Q", stream.read(8))[0]
        table = json.loads(stream.read(length))
    # Private and copy on write: the tensors may be written to without the file noticing.
    data = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    tensors = {}
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in dtypes:
            raise WeightsError(f"{path}: tensor {name!r} is {entry['dtype']}; expected {', '.join(dtypes)}")
        dtype = dtypes[entry["dtype"]]
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        # The format aligns nothing; a copy does.
        part = data[begin:end] if begin % dtype.itemsize == 0 else data[begin:end].clone()
        tensors[name] = part.view(dtype).reshape(entry["shape"])
    return tensors
