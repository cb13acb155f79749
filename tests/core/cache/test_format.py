"""The file of an entry: everything comes back, and anything that is not exactly what was written is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samovar import Embedding
from samovar.cache import Entry
from samovar.cache.entry import PREAMBLE, CorruptEntryError, dump, parse, parse_header

KEY = "ab" * 32

STRUCTURED = np.dtype([("node", "<i4"), ("box", "<f4", (2, 2)), ("name", "S3"), ("inner", [("a", "u1"), ("b", "<f8")])])


def packed(**tensors: Any) -> Entry:
    soft = frozenset(name for name in tensors if name.startswith("soft"))
    embedding = Embedding(tensors, 640, 480, "fingerprint", compressible=soft)
    return Entry.pack(embedding, KEY, model="model", precision="half", cost=0.25)


def file_of(entry: Entry) -> bytes:
    return b"".join(dump(entry))


@pytest.fixture(scope="module")
def sample() -> bytes:
    random = np.random.default_rng(0)
    return file_of(
        packed(
            soft=random.standard_normal((4, 9, 33), np.float32),
            exact=random.integers(0, 99, (700, 7), np.int16),
            empty=np.zeros((0, 3)),
            last=np.arange(3, dtype=np.uint8),
        )
    )


def tensors() -> st.SearchStrategy[Any]:
    kinds = st.one_of(
        hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes(),
        hnp.complex_number_dtypes(), hnp.byte_string_dtypes(max_len=5), st.just(STRUCTURED),
    )  # fmt: skip
    return kinds.flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
    )


@pytest.mark.slow
@settings(max_examples=120)
@given(st.dictionaries(st.text(max_size=8).map("exact ".__add__), tensors(), max_size=4))
def test_every_kind_of_array_comes_back_bit_for_bit(given_tensors: dict[str, Any]) -> None:
    entry = packed(**given_tensors)
    back = parse(file_of(entry), KEY).unpack()
    assert (back.width, back.height, back.fingerprint) == (640, 480, "fingerprint")
    assert list(back.tensors) == list(given_tensors)
    for name, want in given_tensors.items():
        found = back.tensors[name]
        assert found.dtype == want.dtype
        assert found.shape == want.shape
        assert found.tobytes() == want.tobytes()
        assert not found.flags.writeable


def test_what_is_known_of_an_entry_comes_back() -> None:
    entry = packed(soft=np.ones((2, 3), np.float32))
    back = parse(file_of(entry), KEY)
    for name in ("key", "fingerprint", "model", "width", "height", "precision", "cost", "created", "nbytes"):
        assert getattr(back, name) == getattr(entry, name), name
    assert back.unpack().compressible == {"soft"}


def test_tensors_start_at_multiples_of_64(sample: bytes) -> None:
    _, start = parse_header(sample)
    assert start % 64 == 0
    assert len(sample) % 64 == 0


def boundaries(data: bytes) -> list[int]:
    """Offsets at and around every boundary of the layout, and a page into the tensors."""
    header, start = parse_header(data)
    marks = {0, 8, 12, 16, PREAMBLE, PREAMBLE + int.from_bytes(data[12:16], "little"), start, len(data)}
    offset = start
    for part in header["parts"]:
        size = {"half": 2, "raw": np.dtype(part["dtype"]).itemsize}[part["encoding"]] * int(np.prod(part["shape"]))
        marks |= {offset, offset + size, offset + -(-size // 64) * 64}
        offset += -(-size // 64) * 64
    marks |= {start + 4096, start + 8192}
    return sorted({mark + delta for mark in marks for delta in (-8, -1, 0, 1, 8) if 0 <= mark + delta < len(data)})


def test_a_file_torn_at_any_boundary_is_refused(sample: bytes) -> None:
    for length in boundaries(sample):
        with pytest.raises(CorruptEntryError):
            parse(sample[:length], KEY)


def test_a_file_whose_tail_never_reached_the_disk_is_refused(sample: bytes) -> None:
    for length in boundaries(sample):
        zeroed = sample[:length] + bytes(len(sample) - length)
        if zeroed != sample:
            with pytest.raises(CorruptEntryError):
                parse(zeroed, KEY)


def test_a_file_that_grew_is_refused(sample: bytes) -> None:
    for extra in (b"\0", bytes(64), sample):
        with pytest.raises(CorruptEntryError):
            parse(sample + extra, KEY)


def test_one_flipped_bit_anywhere_is_found(sample: bytes) -> None:
    random = np.random.default_rng(1)
    for offset in {*boundaries(sample), *random.integers(0, len(sample), 3000).tolist()}:
        flipped = bytearray(sample)
        flipped[offset] ^= 1 << int(random.integers(8))
        with pytest.raises(CorruptEntryError):
            parse(bytes(flipped), KEY)


@settings(max_examples=200)
@given(st.data())
def test_any_overwritten_stretch_is_found(sample: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sample) - 1))
    stretch = data.draw(st.binary(min_size=1, max_size=300))
    damaged = (sample[:start] + stretch + sample[start + len(stretch) :])[: len(sample)]
    if damaged != sample:
        with pytest.raises(CorruptEntryError):
            parse(damaged, KEY)


def test_pages_that_changed_places_are_found() -> None:
    pages = np.random.default_rng(0).integers(0, 256, (16, 4096), np.uint8)
    embedding = Embedding({"pages": pages}, 640, 480, "fingerprint")
    whole = b"".join(dump(Entry.pack(embedding, KEY, model="m", precision="exact", cost=1)))
    _, start = parse_header(whole)
    for first in range(start, start + 15 * 4096, 4096):
        middle, last = first + 4096, first + 8192
        with pytest.raises(CorruptEntryError, match="do not match their checksum"):
            parse(whole[:first] + whole[middle:last] + whole[first:middle] + whole[last:], KEY)


def test_another_key_is_refused(sample: bytes) -> None:
    with pytest.raises(CorruptEntryError, match="another key"):
        parse(sample, "cd" * 32)


def test_another_version_of_the_layout_is_refused(sample: bytes) -> None:
    newer = sample[:8] + (2).to_bytes(4, "little") + sample[12:]
    with pytest.raises(CorruptEntryError, match="another version"):
        parse(newer, KEY)


def resealed(data: bytes, change: dict[str, Any]) -> bytes:
    """The file with a changed header and checksums that hold: as nobody but a forger would write it."""
    header, start = parse_header(data)
    payload = data[start:]
    text = json.dumps({**header, **change}).encode()
    rest = text + bytes(-(PREAMBLE + len(text)) % 64)
    head = data[:12] + len(text).to_bytes(4, "little")
    return head + blake3(head + rest).digest() + rest + payload


@pytest.mark.parametrize(
    "change",
    [
        {"parts": []},
        {"parts": None},
        {"parts": [{"name": "x"}]},
        {"size": [1]},
        {"size": [0, 1]},
        {"precision": 3, "size": "no"},
        {"parts": [{"name": "x", "library": "numpy", "dtype": "|O", "shape": [4], "encoding": "raw", "error": 0}]},
        {"parts": [{"name": "x", "library": "numpy", "dtype": "<f4", "shape": [-4], "encoding": "raw", "error": 0}]},
        {
            "parts": [
                {"name": "x", "library": "numpy", "dtype": "<f4", "shape": [10**12], "encoding": "raw", "error": 0}
            ]
        },
        {"bytes": 10**15},
        {"bytes": "many"},
    ],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_refused_even_when_its_checksum_holds(
    sample: bytes, change: dict[str, Any]
) -> None:
    with pytest.raises(CorruptEntryError):
        parse(resealed(sample, change), KEY)


@given(st.binary(max_size=400))
def test_no_bytes_at_all_do_more_than_be_refused(data: bytes) -> None:
    for junk in (data, b"SAMOVAR\0" + (1).to_bytes(4, "little") + data):
        with pytest.raises(CorruptEntryError):
            parse(junk, KEY)
