r"""`Entry`: one embedding as tiers keep it, its key, and its file.

A key is BLAKE3 over length-prefixed fields, so that no two different lists of fields give the same bytes: everything
that an entry's numbers depend on, and nothing else. A path, a time stamp or an identifier that a caller made up is
never part of a key.

The file of an entry is a fixed preamble, a header in JSON, then the tensors, each part under a checksum:

    offset  bytes  what
         0      8  b"SAMOVAR\0"
         8      4  version of this layout, little-endian
        12      4  length H of the header
        16     32  BLAKE3 of everything before the tensors but itself
        48      H  header: UTF-8 JSON; says what the tensors are and holds their checksum
              pad  zeros up to a multiple of 64
                   tensors and scales one after another, each padded with zeros to a multiple of 64

It is good only if its length is exactly what the header says and both checksums hold. Nothing in it is executed.
"""

from __future__ import annotations

import json
import math
import os
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from xxhash import xxh3_128, xxh3_128_hexdigest

from samovar.cache.tensors import PRECISIONS, Precision, Quantized, TensorRecord, aligned, numpy_dtype, scales_shape
from samovar.embedding import Embedding

__all__ = [
    "SCHEMA",
    "CorruptEntryError",
    "Entry",
    "EntryInfo",
    "Stamp",
    "alias_key",
    "dump",
    "entry_key",
    "fields_digest",
    "parse",
    "parse_header",
    "read",
]

SCHEMA = 2
"""Version of keys, entries and the folder's layout. Raise it when any of them changes meaning."""

MAGIC = b"SAMOVAR\0"
VERSION = 1
PREAMBLE = 48
MAX_HEADER = 1 << 20
MAX_FILE = 1 << 36
HEAD = 1 << 13
PIECE = 1 << 18

Buffer = bytes | memoryview


def fields_digest(*fields: bytes) -> str:
    """BLAKE3 of `fields`, each preceded by its length; 64 hex digits."""
    hasher = blake3()
    for one in fields:
        hasher.update(len(one).to_bytes(8, "little"))
        hasher.update(one)
    return hasher.hexdigest()


def entry_key(pixels: str, fingerprint: str, precision: str) -> str:
    """The key of one image's embedding.

    Args:
        pixels: digest of the decoded pixels with their shape, dtype and channel order (`Image.digest`).
        fingerprint: of the encoder: weights, configuration, preprocessing and compute dtype.
        precision: how the cache stores tensors that tolerate it; an exact reader never meets a rounded entry.
    """
    return fields_digest(
        b"samovar embedding", str(SCHEMA).encode(), pixels.encode(), fingerprint.encode(), precision.encode()
    )


def alias_key(file: str, decoder: str) -> str:
    """The key under which the pixel digest of an encoded image is remembered.

    Args:
        file: digest of the whole file (`Image.file_digest`).
        decoder: identifies what turns the file into pixels; another decoder may give other pixels.
    """
    return fields_digest(b"samovar alias", str(SCHEMA).encode(), decoder.encode(), bytes.fromhex(file))


@dataclass(frozen=True)
class EntryInfo:
    """What is known of an entry without its tensors.

    Attributes:
        key: names it, see `entry_key`.
        model: the segmenter's name, for people.
        nbytes: what the entry takes up, in bytes.
        cost: seconds that encoding the image took.
        hits: how often it was asked for since it was put.
        used: when it was last used, in seconds since 1970 by the clock of whoever used it.
    """

    key: str
    model: str
    nbytes: int
    cost: float
    hits: int = 0
    used: float = 0.0


@dataclass(frozen=True, eq=False)
class Entry:
    """One embedding as it is kept. Immutable, and so are the arrays in it.

    Attributes:
        key: names it.
        fingerprint: of the segmenter that made it.
        model: the segmenter's name, for people.
        width, height: the original image, in pixels.
        parts: its tensors.
        precision: the precision that was asked for.
        cost: seconds that encoding the image took.
        created: seconds since 1970.
    """

    key: str
    fingerprint: str
    model: str
    width: int
    height: int
    parts: tuple[TensorRecord, ...]
    precision: Precision = "exact"
    cost: float = 0.0
    created: float = 0.0
    _lent: weakref.ref[Embedding] | None = field(default=None, init=False, repr=False)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all stored tensors, each rounded up to a whole number of 64."""
        return sum(aligned(array.nbytes) for part in self.parts for array in part.arrays())

    @property
    def info(self) -> EntryInfo:
        """What is known of it without its tensors."""
        return EntryInfo(self.key, self.model, self.nbytes, self.cost, used=self.created)

    @classmethod
    def pack(cls, embedding: Embedding, key: str, *, model: str, precision: Precision, cost: float) -> Entry:
        """`embedding` in stored form. Its tensors are copied: nobody holds a reference that could change them.

        Raises:
            CacheError: a tensor cannot be rebuilt from its bytes (of objects, sparse, of another library).
        """
        soft = embedding.compressible
        parts = tuple(
            TensorRecord.pack(name, tensor, precision if name in soft else "exact", name in soft)
            for name, tensor in embedding.tensors.items()
        )
        size = embedding.width, embedding.height
        return cls(key, embedding.fingerprint, model, *size, parts, precision, cost, time.time())

    @property
    def in_use(self) -> bool:
        """Whether somebody holds an embedding that shares this entry's memory."""
        return self._lent is not None and self._lent() is not None

    def unpack(self) -> Embedding:
        """The embedding; one and the same as long as somebody holds it.

        NumPy arrays in it are read-only views of the entry. A torch tensor cannot be read-only, so every look at one
        gives a copy.
        """
        alive = self._lent() if self._lent is not None else None
        if alive is not None:
            return alive
        embedding = Embedding(
            tensors={part.name: part.restore() if part.library == "numpy" else None for part in self.parts},
            width=self.width,
            height=self.height,
            fingerprint=self.fingerprint,
            compressible=frozenset(part.name for part in self.parts if part.compressible),
        )
        foreign = {part.name: part for part in self.parts if part.library != "numpy"}
        if foreign:
            object.__setattr__(embedding, "tensors", _Copies({**embedding.tensors, **foreign}))
        object.__setattr__(self, "_lent", weakref.ref(embedding))
        return embedding

    def to_host(self) -> Entry:
        """The same entry in the memory of the CPU and in stored form, as slower tiers take it."""
        # Making integers again of what was restored from integers would round once more.
        precision: Precision = "exact" if self.precision == "int8" else self.precision
        packed = Entry.pack(self.unpack(), self.key, model=self.model, precision=precision, cost=self.cost)
        return replace(packed, precision=self.precision, created=self.created)

    def dequantized(self) -> Entry:
        """The same entry with every tensor in the encoder's own dtype, so that unpacking it costs no arithmetic."""
        if all(part.stored.encoding == "raw" for part in self.parts):
            return self
        return replace(self, parts=tuple(part.dequantized() for part in self.parts))


class _Copies(Mapping[str, Any]):
    """Tensors by name; those given as a `TensorRecord` are restored anew at every look."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self._kept = kept

    def __getitem__(self, name: str) -> Any:
        value = self._kept[name]
        return value.restore() if isinstance(value, TensorRecord) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


# ------------------------------------------------------------------------------------------- an entry's file


class CorruptEntryError(Exception):
    """These bytes are not an entry, or not all of one. Says what is wrong with them."""


Stamp = tuple[int, int, int, int]
"""A version of a file: inode, size, and when its contents and its status last changed, in nanoseconds."""


def dump(entry: Entry) -> list[bytes | memoryview]:
    """The file of `entry`, as pieces to be written one after another."""
    pieces: list[bytes | memoryview] = []
    for part in entry.parts:
        for array in part.arrays():
            contiguous = np.ascontiguousarray(array)
            pieces.append(contiguous.reshape(-1).view(np.uint8).data if contiguous.nbytes else b"")
            pieces.append(bytes(aligned(array.nbytes) - array.nbytes))
    payload = b"".join(pieces)
    header = json.dumps(
        {
            "key": entry.key,
            "fingerprint": entry.fingerprint,
            "model": entry.model,
            "size": [entry.width, entry.height],
            "precision": entry.precision,
            "cost": entry.cost,
            "created": entry.created,
            "parts": [_describe(part) for part in entry.parts],
            "bytes": len(payload),
            "check": xxh3_128_hexdigest(payload),
        },
        separators=(",", ":"),
    ).encode()
    start = MAGIC + VERSION.to_bytes(4, "little") + len(header).to_bytes(4, "little")
    rest = header + bytes(aligned(PREAMBLE + len(header)) - PREAMBLE - len(header))
    return [start, blake3(start + rest).digest(), rest, payload]


def parse(data: bytes, key: str) -> Entry:
    """The entry in `data`, its arrays read-only views of it.

    Raises:
        CorruptEntryError: anything at all is wrong with the bytes, or they are another key's entry.
    """
    header, start = parse_header(data)
    memory = np.frombuffer(data, np.uint8)
    _check(header, key, start, memory.size)
    _compare(header, xxh3_128_hexdigest(memory[start:].data))
    return _entry(header, memory, start)


def read(path: str | Path, key: str, trusted: Stamp | None = None) -> tuple[Entry, Stamp]:
    """The entry in a file, and the version of the file that it was read from.

    It is read rather than mapped: what was checked is then what is used, and a file that somebody truncates cannot take
    the process down with a bus error.

    Args:
        trusted: a version whose tensors were checked before; those are not checked again.

    Raises:
        CorruptEntryError: anything at all is wrong with the file, or it is another key's entry.
        OSError: it is not there or cannot be read.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a name will do)
        status = os.fstat(file.fileno())
        size = status.st_size
        stamp = (status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns)
        if size > MAX_FILE:
            raise CorruptEntryError("is larger than any entry")
        memory = np.empty(size, np.uint8)
        view = memory.data
        got = _fill(file, view[:HEAD])
        got += _fill(file, view[got : _header_end(view[:got])])
        header, start = parse_header(view[:got])
        _check(header, key, start, size)
        if stamp == trusted:
            _fill(file, view[got:])
        else:
            # Piece by piece, while each is in the processor's cache.
            found = xxh3_128(view[start:got])
            for at in range(got, size, PIECE):
                _fill(file, view[at : at + PIECE])
                found.update(view[at : at + PIECE])
            _compare(header, found.hexdigest())
    memory.setflags(write=False)
    return _entry(header, memory, start), stamp


def _fill(file: Any, view: memoryview) -> int:
    got = 0
    while got < len(view):
        count = file.readinto(view[got:])
        if not count:
            raise CorruptEntryError("ends before its end: it is being truncated")
        got += count
    return got


def _header_end(data: Buffer) -> int:
    """How many bytes of a file its preamble and header take up, by its first `PREAMBLE` bytes."""
    if len(data) < PREAMBLE or data[:8] != MAGIC:
        raise CorruptEntryError("does not begin as an entry does")
    if int.from_bytes(data[8:12], "little") != VERSION:
        raise CorruptEntryError("has a layout of another version")
    length = int.from_bytes(data[12:16], "little")
    if length > MAX_HEADER:
        raise CorruptEntryError("has a header longer than any")
    return aligned(PREAMBLE + length)


def parse_header(data: Buffer) -> tuple[dict[str, Any], int]:
    """The header in `data` (enough of a file's beginning) and where the tensors start. Raises CorruptEntryError."""
    start = _header_end(data)
    if len(data) < start:
        raise CorruptEntryError("ends within its header")
    hasher = blake3(data[:16])
    hasher.update(data[PREAMBLE:start])
    if hasher.digest() != data[16:PREAMBLE]:
        raise CorruptEntryError("has a header that does not match its checksum")
    header = json.loads(bytes(data[PREAMBLE : PREAMBLE + int.from_bytes(data[12:16], "little")]))
    if not isinstance(header, dict):
        raise CorruptEntryError("has a header that is no object")
    return header, start


def file_info(header: dict[str, Any], nbytes: int, used: float) -> EntryInfo:
    """What the header of a file of `nbytes` bytes, last used then, says of its entry. Raises CorruptEntryError."""
    try:
        return EntryInfo(str(header["key"]), str(header["model"]), nbytes, float(header["cost"]), used=used)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptEntryError(f"has a header that makes no sense: {error}") from error


def _check(header: dict[str, Any], key: str, start: int, size: int) -> None:
    payload = header.get("bytes")
    if header.get("key") != key:
        raise CorruptEntryError("holds the entry of another key")
    if not isinstance(payload, int) or size != start + payload:
        raise CorruptEntryError(f"is {size} bytes long where {start} + {payload} were written")


def _compare(header: dict[str, Any], found: str) -> None:
    if header.get("check") != found:
        raise CorruptEntryError("has tensors that do not match their checksum")


def _describe(part: TensorRecord) -> dict[str, Any]:
    stored = part.stored
    described: dict[str, Any] = {
        "name": part.name,
        "library": part.library,
        "dtype": part.dtype,
        "shape": list(part.shape),
        "encoding": stored.encoding,
        "compressible": part.compressible,
        "error": stored.error,
    }
    if stored.scales is not None:
        described |= {"axis": stored.axis, "scales": list(stored.scales.shape)}
    return described


def _entry(header: dict[str, Any], memory: NDArray[np.uint8], start: int) -> Entry:
    """The entry whose file `memory` is, by a header that matched its checksum."""
    try:
        parts = []
        for described in header["parts"]:
            part, start = _part(described, memory, start)
            parts.append(part)
        if start != memory.size:
            raise ValueError("the tensors do not fill the file")
        width, height = map(int, header["size"])
        if width < 1 or height < 1 or header["precision"] not in PRECISIONS:
            raise ValueError("a size or precision that there is not")
        return Entry(
            key=header["key"],
            fingerprint=header["fingerprint"],
            model=header["model"],
            width=width,
            height=height,
            parts=tuple(parts),
            precision=header["precision"],
            cost=float(header["cost"]),
            created=float(header["created"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CorruptEntryError(f"has a header that makes no sense: {error}") from error


_STORED: dict[str, np.dtype[Any]] = {
    "int8": np.dtype(np.int8),
    "half": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}


def _part(described: dict[str, Any], memory: NDArray[np.uint8], start: int) -> tuple[TensorRecord, int]:
    shape = tuple(described["shape"])
    dtype, encoding, axis = described["dtype"], described["encoding"], described.get("axis")
    if isinstance(dtype, list):
        dtype = _tuples(dtype)
    if encoding == "raw":
        kept = _STORED["bfloat16"] if dtype == "bfloat16" else numpy_dtype(dtype)
    else:
        kept = _STORED[encoding]
    scales: NDArray[np.float32] | None = None
    values, start = _array(memory, start, kept, shape)
    if encoding == "int8":
        scales, start = _array(memory, start, np.dtype("<f4"), tuple(described["scales"]))
        if scales.shape != scales_shape(shape, axis):
            raise ValueError("scales of another shape")
    stored = Quantized(encoding, values, scales, axis, float(described["error"]))
    record = TensorRecord(
        described["name"], described["library"], dtype, shape, stored, bool(described["compressible"])
    )
    return record, start


def _array(
    memory: NDArray[np.uint8], start: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> tuple[NDArray[Any], int]:
    size = math.prod(shape) * dtype.itemsize
    if shape and min(shape) < 0:
        raise ValueError(f"a shape of {shape}")
    if size == 0:
        empty: NDArray[Any] = np.zeros(shape, dtype)
        empty.setflags(write=False)
        return empty, start
    end = start + size
    if end > memory.size:
        raise ValueError("a tensor beyond the end")
    return memory[start:end].view(dtype).reshape(shape), start + aligned(size)


def _tuples(description: list[Any]) -> Any:
    """A structured dtype's description as NumPy wants it: JSON knows no tuples."""
    return [
        (one[0], _tuples(one[1]) if isinstance(one[1], list) else one[1], *(tuple(shape) for shape in one[2:]))
        for one in description
    ]
