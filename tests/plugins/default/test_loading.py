"""Listing costs nothing, loading takes only what the model has, and broken weights are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samovar import Image, list_segmenters
from samovar.embedding import Embedding
from samovar.errors import DeviceError, InputError, WeightsError
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.default.segmenter import DefaultSegmenter, load
from samovar_plugins.default.weights import load_weights


def test_it_is_listed_as_default() -> None:
    (spec,) = [spec for spec in list_segmenters() if spec.name == "default"]
    assert spec.prompts == {"points", "box", "mask"}
    assert spec.weights is None
    assert spec.extra is None


def test_describing_it_imports_nothing_heavy() -> None:
    heavy = ("numpy", "numba", "cv2", "torch")
    program = (
        "import sys; from samovar_plugins.default.plugin import register_segmenters; register_segmenters(); "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"weights": "x.npz"}, WeightsError, "ships its own weights"),
        ({"device": "cuda"}, DeviceError, "runs on the CPU"),
        ({"dtype": "float16"}, DeviceError, "computes in float32"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(asked: dict[str, str], error: type[Exception], message: str) -> None:
    options: dict[str, str | None] = {"weights": None, "device": "cpu", "dtype": "auto", **asked}
    with pytest.raises(error, match=message):
        load("default", **options)  # type: ignore[arg-type]


def test_an_embedding_of_another_segmenter_is_refused(segmenter: DefaultSegmenter) -> None:
    (own,) = segmenter.encode([Image(np.zeros((8, 8, 3), np.uint8))])
    foreign = Embedding(own.tensors, 8, 8, "another")
    with pytest.raises(InputError, match="encode the image again"):
        segmenter.decode([foreign], [Prompts.from_points([[4, 4]])], DecodeOptions())


def test_torn_and_senseless_weights_are_named(tmp_path: Path) -> None:
    torn = tmp_path / "torn.npz"
    torn.write_bytes(b"PK\x03\x04 not a whole archive")
    with pytest.raises(WeightsError, match=r"torn\.npz"):
        load_weights(torn)
    wild = tmp_path / "wild.npz"
    np.savez(wild, border=np.array([1, np.nan], np.float32))
    with pytest.raises(WeightsError, match="border must be a vector of finite numbers"):
        load_weights(wild)


def test_weights_make_the_fingerprint(tmp_path: Path, segmenter: DefaultSegmenter) -> None:
    """An embedding of other weights must never be taken for one of these."""
    empty = tmp_path / "empty.npz"
    np.savez(empty)
    assert DefaultSegmenter(load_weights(empty)).fingerprint != segmenter.fingerprint
