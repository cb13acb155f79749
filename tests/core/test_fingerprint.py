"""A fingerprint changes with what it is made of, and with nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samovar import Fingerprint
from samovar.errors import InputError
from samovar.fingerprint import fingerprint_arrays


def test_a_plain_string_is_both_parts() -> None:
    mark = Fingerprint.of("mine 1")
    assert (mark.encoder, mark.decoder) == ("mine 1", "mine 1")
    assert Fingerprint.of(mark) is mark


def test_it_is_one_line_of_text() -> None:
    assert str(Fingerprint("a", "a")) == "a"
    assert str(Fingerprint("a", "b")) == "a+b"


@pytest.mark.parametrize("value", ["", " ", "two\nlines", None, 3, b"bytes"])
def test_what_is_no_line_of_text_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="one line of text"):
        Fingerprint.of(value)


def arrays() -> dict[str, Any]:
    return {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float64(1), "empty": np.zeros((0, 4), np.int8)}


def test_arrays_have_the_same_fingerprint_in_any_order_layout_and_byte_order() -> None:
    mark = fingerprint_arrays(arrays())
    assert len(mark) == 32
    assert fingerprint_arrays(dict(reversed(arrays().items()))) == mark
    assert fingerprint_arrays(arrays() | {"a": np.asfortranarray(arrays()["a"])}) == mark
    assert fingerprint_arrays(arrays() | {"a": arrays()["a"].astype(">f4")}) == mark


@pytest.mark.parametrize(
    "change",
    [
        {"c": np.zeros(1)},
        {"a": np.arange(6, dtype=np.float32).reshape(3, 2)},
        {"a": np.arange(6, dtype=np.float64).reshape(2, 3)},
        {"a": np.arange(6, dtype=np.float32).reshape(2, 3) + 1},
        {"b": np.float64(-1)},
        {"empty": np.zeros((4, 0), np.int8)},
    ],
)
def test_other_arrays_have_another(change: dict[str, Any]) -> None:
    assert fingerprint_arrays(arrays() | change) != fingerprint_arrays(arrays())


def test_a_name_does_not_run_into_its_values() -> None:
    one = {"ab": np.frombuffer(b"c", np.uint8), "d": np.frombuffer(b"", np.uint8)}
    other = {"a": np.frombuffer(b"bc", np.uint8), "d": np.frombuffer(b"", np.uint8)}
    assert fingerprint_arrays(one) != fingerprint_arrays(other)


def test_objects_are_refused() -> None:
    with pytest.raises(InputError, match="Python objects"):
        fingerprint_arrays({"a": np.array([object()])})


def test_tensors_of_torch_count_as_arrays() -> None:
    torch = pytest.importorskip("torch")
    made = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.tensor(1.0, dtype=torch.float64)}
    assert fingerprint_arrays(made | {"empty": torch.zeros((0, 4), dtype=torch.int8)}) == fingerprint_arrays(arrays())
    half = {"a": torch.ones(3, dtype=torch.bfloat16)}
    assert fingerprint_arrays(half) != fingerprint_arrays({"a": torch.ones(3, dtype=torch.float16)})
    assert fingerprint_arrays({"a": made["a"].t()}) == fingerprint_arrays({"a": made["a"].t().contiguous()})
