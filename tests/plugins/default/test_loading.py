"""Listing costs nothing, loading takes only what the model has, and broken weights are named."""

from __future__ import annotations

import shutil
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
from samovar_plugins.default import segmenter as module_of_it
from samovar_plugins.default.network import Weights, code_digest, load_weights
from samovar_plugins.default.segmenter import DefaultSegmenter, load

PACKAGE = Path(module_of_it.__file__).parent


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


def fingerprint_of(folder: Path) -> str:
    """The fingerprint that a fresh process gives with the packages in `folder` before all others."""
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); from samovar_plugins.default.segmenter import load; "
        "print(load('default', weights=None, device='cpu', dtype='auto').fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_other_code_has_another_fingerprint(tmp_path: Path, segmenter: DefaultSegmenter) -> None:
    """An embedding that earlier code left in a cache must never be taken for one of today's."""
    copy = tmp_path / "samovar_plugins" / "default"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE.parent / "__init__.py", copy.parent)
    assert fingerprint_of(tmp_path) == segmenter.fingerprint
    encoding = copy / "encoding.py"
    encoding.write_text(encoding.read_text().replace('"superpixel_rim_distance"', '"superpixel_edge_distance"'))
    assert fingerprint_of(tmp_path) != segmenter.fingerprint


@pytest.mark.parametrize("module", sorted(path.name for path in PACKAGE.glob("*.py")))
def test_every_module_is_part_of_the_fingerprint(tmp_path: Path, module: str) -> None:
    copy = tmp_path / "default"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_digest(copy)
    with (copy / module).open("a") as file:
        file.write("# changed\n")
    code_digest.cache_clear()
    assert code_digest(copy) != before


def test_weights_make_the_fingerprint(segmenter: DefaultSegmenter) -> None:
    """An embedding of other weights must never be taken for one of these, wherever they come from."""
    edge = np.ones(5, np.float32)
    fitted = [Weights(), Weights({"border": edge}), Weights({"border": 2 * edge}), Weights({"other": edge})]
    fingerprints = {DefaultSegmenter(weights).fingerprint for weights in fitted}
    assert len(fingerprints | {segmenter.fingerprint}) == 5
