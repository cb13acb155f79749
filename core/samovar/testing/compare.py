"""Comparing what the suites get back, with a message that says where it differs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.cache.entry import Entry
from samovar.cache.foreign import from_torch, is_torch
from samovar.embedding import Embedding
from samovar.masks import Masks

__all__ = ["arrays", "assert_same_embedding", "assert_same_masks", "overlap", "through_a_cache"]


def arrays(embedding: Embedding) -> dict[str, NDArray[Any]]:
    """The embedding's tensors as NumPy arrays of their own; bfloat16 as float32."""
    return {name: _array(name, tensor) for name, tensor in embedding.tensors.items()}


def _array(name: str, tensor: Any) -> NDArray[Any]:
    if not is_torch(tensor):
        return np.array(tensor)
    bits, dtype = from_torch(name, tensor)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32) if dtype == "bfloat16" else np.array(bits)


def through_a_cache(embedding: Embedding, *, half: bool = False) -> Embedding:
    """`embedding` as a cache gives it back: rebuilt from bytes, without what is derived, perhaps in half precision."""
    return Entry.pack(embedding, "0" * 64, model="tested", precision="half" if half else "exact", cost=0.0).unpack()


def assert_same_embedding(got: Embedding, expected: Embedding, tolerance: float) -> None:
    """Same image, same fingerprint, same tensors; floats within `tolerance` of the largest value in the tensor."""
    assert (got.width, got.height) == (expected.width, expected.height)
    assert got.fingerprint == expected.fingerprint
    ours, theirs = arrays(got), arrays(expected)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape), name
        _assert_close(array, theirs[name], tolerance, f"tensor {name!r}")


def assert_same_masks(got: Masks, expected: Masks, agreement: float, tolerance: float) -> None:
    """As many masks, for the same prompts; each pair's IoU at least `agreement`, scores within `tolerance`."""
    assert (got.width, got.height) == (expected.width, expected.height)
    assert got.prompt_index.tolist() == expected.prompt_index.tolist()
    ious = overlap(got, expected)
    worst = int(ious.argmin()) if len(ious) else 0
    assert (ious >= agreement).all(), f"mask {worst} differs: IoU {ious[worst]:.4f}, expected {agreement}"
    _assert_close(got.scores, expected.scores, tolerance, "scores")


def overlap(first: Masks, second: Masks) -> NDArray[np.float64]:
    """IoU of each mask of `first` with the one at its place in `second`; 1 where both are empty. N float64."""
    ours, theirs = first.to_array(), second.to_array()
    shared = (ours & theirs).sum(axis=(1, 2))
    either = (ours | theirs).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))


def _assert_close(got: NDArray[Any], expected: NDArray[Any], tolerance: float, what: str) -> None:
    if expected.dtype.kind != "f" or tolerance == 0:
        assert np.array_equal(got, expected, equal_nan=expected.dtype.kind == "f"), f"{what} differ"
        return
    limit = tolerance * max(1.0, float(np.abs(expected).max(initial=0)))
    worst = float(np.abs(got.astype(np.float64) - expected.astype(np.float64)).max(initial=0))
    assert worst <= limit, f"{what} differ by {worst:.3g}, expected at most {limit:.3g}"
