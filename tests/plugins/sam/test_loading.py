"""From a checkpoint on disk to masks, and one line for each way in which that can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import samovar
from samovar.errors import DeviceError, WeightsError
from samovar.plugins import list_segmenters
from samovar_plugins.sam.plugin import FAMILY, MODELS
from tests.plugins.sam.weights import MOBILE, random_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of MobileSAM as published, with random weights."""
    path = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    torch.save(random_weights("mobile-sam", MOBILE), path)
    return path


def load(name: str, path: Path, device: str = "cpu", dtype: str = "auto") -> object:
    return FAMILY.load(name, weights=str(path), device=device, dtype=dtype)


def test_a_full_size_checkpoint_is_loaded_by_its_path_and_answers(mobile: Path, photo: Path) -> None:
    model = samovar.load(mobile, device="cpu", cache="off")
    assert model.name == "mobile-sam"
    masks = model.segment(photo, [samovar.Prompt(box=(150, 80, 420, 330)), samovar.Prompt(points=[[300, 200]])])
    assert (masks.width, masks.height) == (600, 400)
    assert masks.prompt_index.tolist() == [0, 1]
    assert (masks.areas > 0).any()  # with random weights one of the two may well be empty


def test_the_fingerprint_covers_weights_and_dtype(mobile: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save(random_weights("mobile-sam", MOBILE, seed=1), other)
    copy = tmp_path / "copy.pt"
    copy.write_bytes(mobile.read_bytes())
    marks = [
        FAMILY.load("mobile-sam", weights=str(path), device="cpu", dtype="auto").fingerprint
        for path in (mobile, copy, other)
    ]
    half = FAMILY.load("mobile-sam", weights=str(mobile), device="cpu", dtype="bfloat16").fingerprint
    assert marks[0] == marks[1]
    assert len({*marks, half}) == 3


def one_line(error: BaseException) -> str:
    assert len(str(error).splitlines()) == 1
    return str(error)


def test_weights_of_another_architecture_are_named(mobile: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load("sam-vit-b", mobile)
    assert "looks like mobile-sam; expected weights of sam-vit-b; load it as 'mobile-sam'" in one_line(caught.value)


def test_a_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    path, weights = tmp_path / "odd.pt", random_weights("mobile-sam", MOBILE)
    weights["mask_decoder.iou_token.weight"] = torch.zeros(1, 128)
    torch.save(weights, path)
    with pytest.raises(WeightsError) as caught:
        samovar.load(path, device="cpu")
    assert "expected tensors that fit together; got others (Sizes of tensors must match" in one_line(caught.value)


def test_a_truncated_file_is_named_with_what_it_looks_like(mobile: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.pt"
    torn.write_bytes(mobile.read_bytes()[: mobile.stat().st_size // 2])
    with pytest.raises(WeightsError) as caught:
        samovar.load(torn, device="cpu")
    message = one_line(caught.value)
    assert "it ends after 20.4 of 40.6 MB" in message
    assert "it looks like mobile-sam" in message


def test_a_pickled_exploit_is_named_and_not_run(tmp_path: Path) -> None:
    proof, path = tmp_path / "proof", tmp_path / "w.pt"

    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {proof}",)

    torch.save({**random_weights("mobile-sam", MOBILE), "bait": Exploit()}, path)
    with pytest.raises(WeightsError) as caught:
        samovar.load(path, device="cpu")
    assert "would run posix.system when loaded" in one_line(caught.value) or os.name == "nt"
    assert not proof.exists()


def test_float16_on_a_cpu_is_refused(mobile: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        load("mobile-sam", mobile, dtype="float16")
    assert "float16 is not usable on a CPU" in one_line(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_where_there_is_none_is_refused(mobile: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        samovar.load(mobile, device="cuda")
    assert "'cuda' is not on this machine" in one_line(caught.value)
    with pytest.raises(DeviceError):
        load("mobile-sam", mobile, device="cuda:0")


def test_weights_that_are_not_there_are_refused() -> None:
    with pytest.raises(WeightsError) as caught:
        FAMILY.load("mobile-sam", weights="./nowhere.pt", device="cpu", dtype="auto")
    assert "no weights at './nowhere.pt'" in one_line(caught.value)


def test_every_model_is_registered_with_what_it_needs() -> None:
    specs = {spec.name: spec for spec in list_segmenters()}
    for model in MODELS:
        spec = specs[model.name]
        assert spec.licence == "Apache-2.0"
        assert spec.extra == "sam"
        assert spec.parameters
        assert spec.embedding_bytes
        assert spec.weights
        assert "cuda" in spec.devices


def imported(statement: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(*({{'torch', 'numba', 'cv2', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_listing_models_and_recognising_a_checkpoint_imports_no_torch(mobile: Path) -> None:
    listed = "import samovar; assert any(s.name == 'sam-vit-b' for s in samovar.list_segmenters())"
    recognised = (
        f"from samovar.plugins import identify_weights; assert identify_weights({str(mobile)!r}) == 'mobile-sam'"
    )
    assert imported(f"{listed}; {recognised}") == set()
    assert "torch" in imported("from samovar_plugins.toolkit import SamSegmenter"), "this test cannot tell"


def test_the_embedding_is_as_large_as_the_spec_says(mobile: Path, photo: Path) -> None:
    spec = next(spec for spec in list_segmenters() if spec.name == "mobile-sam")
    (embedding,) = FAMILY.load("mobile-sam", weights=str(mobile), device="cpu", dtype="auto").encode(
        [samovar.Image(photo)]
    )
    assert embedding.nbytes == spec.embedding_bytes
    assert embedding.compressible == {"image"}
    assert np.isfinite(embedding.tensors["image"]).all()
