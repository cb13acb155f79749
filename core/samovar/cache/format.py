r"""The file of one entry: a fixed preamble, a header in JSON, then the tensors, each part under a checksum.

    offset  bytes  what
         0      8  b"SAMOVAR\0"
         8      4  version of this layout, little-endian
        12      4  length H of the header
        16     32  BLAKE3 of everything before the tensors but itself
        48      H  header: UTF-8 JSON; says what the tensors are and holds their checksum
              pad  zeros up to a multiple of 64
                   tensors and scales one after another, each padded with zeros to a multiple of 64

A file is good only if its length is exactly what the header says and both checksums hold. Nothing in it is executed.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from xxhash import xxh3_128, xxh3_128_hexdigest

from samovar.cache.entry import Entry
from samovar.cache.integers import scales_shape
from samovar.cache.parts import Part, aligned, numpy_dtype
from samovar.cache.precision import PRECISIONS, Narrowed

__all__ = ["Damaged", "Stamp", "dump", "parse", "parse_header", "read"]

Buffer = bytes | memoryview

MAGIC = b"SAMOVAR\0"
VERSION = 1
PREAMBLE = 48
MAX_HEADER = 1 << 20
MAX_FILE = 1 << 36
HEAD = 1 << 13
PIECE = 1 << 18


class Damaged(Exception):
    """These bytes are not an entry, or not all of one. Says what is wrong with them."""


def dump(entry: Entry) -> list[bytes | memoryview]:
    """The file of `entry`, as pieces to be written one after another."""
    pieces: list[bytes | memoryview] = []
    parts = []
    for part in entry.parts:
        for array in part.arrays():
            contiguous = np.ascontiguousarray(array)
            pieces.append(contiguous.reshape(-1).view(np.uint8).data if contiguous.nbytes else b"")
            pieces.append(bytes(aligned(array.nbytes) - array.nbytes))
        parts.append(_describe(part))
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
            "parts": parts,
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
        Damaged: anything at all is wrong with the bytes, or they are another key's entry.
    """
    header, start = parse_header(data)
    memory = np.frombuffer(data, np.uint8)
    _check(header, key, start, memory.size)
    _compare(header, xxh3_128_hexdigest(memory[start:].data))
    return _checked(header, memory, start)


Stamp = tuple[int, int, int, int]
"""A version of a file: inode, size, and when its contents and its status last changed, in nanoseconds."""


def read(path: str | Path, key: str, trusted: Stamp | None = None) -> tuple[Entry, Stamp]:
    """The entry in a file, and the version of the file that it was read from.

    Args:
        trusted: a version whose tensors were checked before; those are not checked again.

    Raises:
        Damaged: anything at all is wrong with the file, or it is another key's entry.
        OSError: it is not there or cannot be read.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a name will do)
        status = os.fstat(file.fileno())
        size = status.st_size
        stamp = (status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns)
        if size > MAX_FILE:
            raise Damaged("is larger than any entry")
        memory = np.empty(size, np.uint8)
        view = memory.data
        got = _fill(file, view[:HEAD])
        got += _fill(file, view[got : header_bytes(view[:got])])
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
    return _checked(header, memory, start), stamp


def _fill(file: Any, view: memoryview) -> int:
    got = 0
    while got < len(view):
        count = file.readinto(view[got:])
        if not count:
            raise Damaged("ends before its end: it is being truncated")
        got += count
    return got


def header_bytes(data: Buffer) -> int:
    """How many bytes of a file its preamble and header take up, by its first `PREAMBLE` bytes. Raises Damaged."""
    if len(data) < PREAMBLE or data[:8] != MAGIC:
        raise Damaged("does not begin as an entry does")
    if int.from_bytes(data[8:12], "little") != VERSION:
        raise Damaged("has a layout of another version")
    length = int.from_bytes(data[12:16], "little")
    if length > MAX_HEADER:
        raise Damaged("has a header longer than any")
    return aligned(PREAMBLE + length)


def parse_header(data: Buffer) -> tuple[dict[str, Any], int]:
    """The header in `data` (a whole file, or enough of its beginning) and where the tensors start. Raises Damaged."""
    start = header_bytes(data)
    if len(data) < start:
        raise Damaged("ends within its header")
    hasher = blake3(data[:16])
    hasher.update(data[PREAMBLE:start])
    if hasher.digest() != data[16:PREAMBLE]:
        raise Damaged("has a header that does not match its checksum")
    header = json.loads(bytes(data[PREAMBLE : PREAMBLE + int.from_bytes(data[12:16], "little")]))
    if not isinstance(header, dict):
        raise Damaged("has a header that is no object")
    return header, start


def _check(header: dict[str, Any], key: str, start: int, size: int) -> None:
    payload = header.get("bytes")
    if header.get("key") != key:
        raise Damaged("holds the entry of another key")
    if not isinstance(payload, int) or size != start + payload:
        raise Damaged(f"is {size} bytes long where {start} + {payload} were written")


def _compare(header: dict[str, Any], found: str) -> None:
    if header.get("check") != found:
        raise Damaged("has tensors that do not match their checksum")


def _checked(header: dict[str, Any], memory: NDArray[np.uint8], start: int) -> Entry:
    try:
        return _entry(header, memory, start)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Damaged(f"has a header that makes no sense: {error}") from error


def _describe(part: Part) -> dict[str, Any]:
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
        described["axis"] = stored.axis
        described["scales"] = list(stored.scales.shape)
    return described


def _entry(header: dict[str, Any], memory: NDArray[np.uint8], start: int) -> Entry:
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


def _part(described: dict[str, Any], memory: NDArray[np.uint8], start: int) -> tuple[Part, int]:
    shape = tuple(described["shape"])
    dtype, encoding, axis = described["dtype"], described["encoding"], described.get("axis")
    if isinstance(dtype, list):
        dtype = _tuples(dtype)
    scales: NDArray[np.float32] | None = None
    values, start = _array(memory, start, _stored_dtype(dtype, encoding), shape)
    if encoding == "int8":
        scales, start = _array(memory, start, np.dtype("<f4"), tuple(described["scales"]))
        if scales.shape != scales_shape(shape, axis):
            raise ValueError("scales of another shape")
    stored = Narrowed(encoding, values, scales, axis, float(described["error"]))
    return Part(described["name"], described["library"], dtype, shape, stored, bool(described["compressible"])), start


def _stored_dtype(dtype: Any, encoding: str) -> np.dtype[Any]:
    if encoding != "raw":
        return _STORED[encoding]
    return _STORED["bfloat16"] if dtype == "bfloat16" else numpy_dtype(dtype)


_STORED: dict[str, np.dtype[Any]] = {
    "int8": np.dtype(np.int8),
    "half": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}


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
        (
            field[0],
            _tuples(field[1]) if isinstance(field[1], list) else field[1],
            *(tuple(shape) for shape in field[2:]),
        )
        for field in description
    ]
