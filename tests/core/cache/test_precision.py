"""How tensors are rounded for keeping: only where allowed, within a stated error, and the same every time."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from samovar import Embedding
from samovar.cache import Entry
from samovar.cache.tensors import PRECISIONS, Precision, Quantized, dequantize, quantize
from samovar.errors import InputError

FLOATS: st.SearchStrategy[NDArray[Any]] = hnp.arrays(
    st.sampled_from([np.dtype(code) for code in ("<f2", "<f4", "<f8")]),
    hnp.array_shapes(min_dims=0, max_dims=4, max_side=8),
)


@pytest.mark.parametrize("precision", PRECISIONS)
@given(array=FLOATS)
def test_what_comes_back_is_within_the_stated_error(precision: Precision, array: NDArray[Any]) -> None:
    kept = quantize(array, precision)
    back = dequantize(kept, array.dtype)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    if kept.encoding == "raw":
        assert np.array_equal(back, array, equal_nan=True)
    else:
        assert np.abs(back.astype(np.float64) - array).max() <= kept.error * (1 + 1e-6)


@given(array=hnp.arrays(np.float32, (4, 5, 6), elements=st.floats(-100, 100, width=32)))
def test_restoring_and_keeping_in_half_precision_again_changes_nothing(array: NDArray[np.float32]) -> None:
    once = dequantize(quantize(array, "half"), array.dtype)
    assert np.array_equal(dequantize(quantize(once, "half"), array.dtype), once)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6])
def test_what_half_cannot_hold_is_kept_as_it_is(bad: float) -> None:
    array = np.array([1, 2, bad], np.float32)
    assert quantize(array, "half").encoding == "raw"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_int8_cannot_hold_is_kept_as_it_is(bad: float) -> None:
    array = np.ones((4, 64), np.float32)
    array[1, 1] = bad
    assert quantize(array, "int8").encoding == "raw"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_int8_has_scales_per_channel_wherever_the_channels_are(axis: int) -> None:
    """Channels of very different size and mean: with one scale for all, the small ones would be lost."""
    shape = [32, 32, 32]
    spread = [-1 if i == axis else 1 for i in range(3)]
    strength = np.logspace(-3, 3, 32, dtype=np.float32).reshape(spread)
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    array = (noise + 20 * np.cos(np.arange(32, dtype=np.float32)).reshape(spread)) * strength
    kept = quantize(array, "int8")
    assert kept.axis == axis
    others = tuple(i for i in range(3) if i != axis)
    reach = array.max(axis=others) - array.min(axis=others)
    assert (np.abs(dequantize(kept, array.dtype) - array).max(axis=others) <= reach / 254 * 0.51).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.3, 1e-30, 1e30])
def test_int8_keeps_a_constant_all_but_exactly(value: float) -> None:
    array = np.full((64, 64), value, np.float32)
    assert np.allclose(dequantize(quantize(array, "int8"), array.dtype), array, rtol=1e-6, atol=1e-37)


@given(
    array=hnp.arrays(np.float32, st.sampled_from([(700,), (3, 257), (2, 9, 300)]), elements=st.floats(-9, 9, width=32)),
    offset=st.sampled_from([0, 1000, -1e6]),
)
def test_int8_is_within_a_step_of_its_stretch(array: NDArray[np.float32], offset: float) -> None:
    array = array + np.float32(offset)
    kept = quantize(array, "int8")
    assert kept.encoding == "int8"
    assert kept.error <= 18 / 254 + abs(offset) * 2**-20


@pytest.mark.parametrize(("precision", "share"), [("exact", 1.0), ("half", 0.5), ("int8", 0.258)])
def test_each_precision_takes_its_share_of_the_bytes(precision: Precision, share: float) -> None:
    tensor = np.random.default_rng(0).standard_normal((256, 64, 64), np.float32)
    embedding = Embedding({"features": tensor}, 9, 9, "f", compressible=frozenset({"features"}))
    entry = Entry.pack(embedding, "k", model="m", precision=precision, cost=1)
    assert entry.nbytes == pytest.approx(tensor.nbytes * share, rel=0.01)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensors_that_the_segmenter_did_not_name_come_back_exactly(precision: Precision) -> None:
    random = np.random.default_rng(0)
    tensors: dict[str, NDArray[Any]] = {
        "float": random.standard_normal((64, 64), np.float32),
        "whole": random.integers(0, 2**40, 99),
    }
    embedding = Embedding(tensors, 9, 9, "f")
    back = Entry.pack(embedding, "k", model="m", precision=precision, cost=1).unpack()
    assert all(np.array_equal(back.tensors[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_integers_come_back_exactly_even_if_they_are_called_compressible(precision: Precision) -> None:
    tensor = np.arange(1000)
    embedding = Embedding({"t": tensor}, 9, 9, "f", compressible=frozenset({"t"}))
    back = Entry.pack(embedding, "k", model="m", precision=precision, cost=1).unpack()
    assert np.array_equal(back.tensors["t"], tensor)


def test_naming_a_tensor_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no tensor 'b' in this embedding; it has a"):
        Embedding({"a": np.ones(3)}, 9, 9, "f", compressible=frozenset({"b"}))


@pytest.mark.parametrize("with_torch", [True, False], ids=["torch", "NumPy"])
@pytest.mark.parametrize("shape", [(63488,), (64, 992), ()])
def test_every_number_of_half_precision_comes_back_as_it_is(
    monkeypatch: pytest.MonkeyPatch, with_torch: bool, shape: tuple[int, ...]
) -> None:
    if with_torch:
        pytest.importorskip("torch")
    else:
        monkeypatch.setattr("samovar.cache.tensors.torch_loaded", lambda: False)
    bits = np.arange(1 << 16, dtype=np.uint16)
    half = bits.view(np.float16)[(bits & 0x7C00) != 0x7C00]  # without infinities and NaN
    half = half.reshape(shape) if shape else half[1234].reshape(())
    for values in (half, half.T, np.tile(half, 3)):
        back = dequantize(Quantized("half", values), np.dtype(np.float32))
        assert back.dtype == np.float32
        assert np.array_equal(back.view(np.int32), values.astype(np.float32).view(np.int32)), "down to the sign of zero"
        assert back.flags.writeable, "of its own"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_dequantizes_what_its_parent_did() -> None:
    """Torch spreads large work over threads, which a child does not have and would wait for."""
    torch = pytest.importorskip("torch")
    if not hasattr(os, "fork"):
        pytest.skip("forks")
    kept = quantize(np.random.default_rng(0).standard_normal(1 << 20, np.float32), "half")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.ones(1 << 22).sum()  # now there are threads
        expected = dequantize(kept, np.dtype(np.float32))
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            os._exit(not np.array_equal(dequantize(kept, np.dtype(np.float32)), expected))
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        torch.set_num_threads(before)
