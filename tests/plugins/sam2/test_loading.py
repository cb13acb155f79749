"""From a checkpoint of SAM 2 on disk to masks, and one line for each way in which that can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import samovar
from samovar.errors import DeviceError, WeightsError
from samovar.plugins import identify_weights, list_segmenters
from samovar_plugins.sam.plugin import FAMILY as SAM
from samovar_plugins.sam2.plugin import FAMILY, MODELS, Model, detect
from samovar_plugins.toolkit import Detected
from tests.plugins.sam.weights import random_weights as sam_weights
from tests.plugins.sam2.weights import TINY, Sizes, random_weights, shapes

PUBLISHED = Sizes(1024, 256, 96, MODELS[0].layout, 7, 2048)


@pytest.fixture(scope="module")
def tiny21(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of SAM 2.1 tiny in Meta's format, with random weights and the marks of its video part."""
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    marks = {"memory_encoder.out_proj.bias": torch.zeros(64), "no_obj_embed_spatial": torch.zeros(1, 64)}
    torch.save({"model": {**random_weights(PUBLISHED), **marks}}, path)
    return path


def load(name: str, path: Path, device: str = "cpu", dtype: str = "auto") -> object:
    return FAMILY.load(name, weights=str(path), device=device, dtype=dtype)


def one_line(error: BaseException) -> str:
    assert len(str(error).splitlines()) == 1
    return str(error)


@pytest.mark.slow
def test_a_checkpoint_of_meta_is_recognised_by_its_path_alone(tiny21: Path) -> None:
    assert identify_weights(tiny21) == "sam2.1-tiny"
    assert samovar.load(tiny21, device="cpu", cache="off").name == "sam2.1-tiny"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_is_recognised_by_its_shapes(model: Model) -> None:
    every = shapes(Sizes(1024, 256, model.width, model.layout, 7, 2048))
    video = {"memory_encoder.out_proj.bias": (64,), **({"no_obj_embed_spatial": (1, 64)} if model.later else {})}
    found, alone = detect({**every, **video}), detect(every)
    assert found is not None
    assert found.names == (model.name,)
    assert alone is not None
    assert model.name in alone.names, "written for images alone"


def test_other_sizes_of_the_architecture_are_described() -> None:
    assert detect(shapes(TINY)) == Detected("a SAM 2.1 with an encoder of 8 channels and 7 blocks")


def test_weights_of_another_size_are_named(tiny21: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load("sam2.1-large", tiny21)
    expected = "looks like sam2.1-tiny; expected weights of sam2.1-large; load it as 'sam2.1-tiny'"
    assert expected in one_line(caught.value)


def test_sam_2_and_2_1_are_told_apart(tiny21: Path) -> None:
    with pytest.raises(WeightsError, match=r"looks like sam2\.1-tiny; expected weights of sam2-tiny"):
        load("sam2-tiny", tiny21)


@pytest.mark.slow
def test_weights_of_sam_are_named(tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    torch.save(sam_weights("sam"), path)
    with pytest.raises(WeightsError) as caught:
        load("sam2.1-tiny", path)
    assert "looks like a SAM checkpoint; expected weights of sam2.1-tiny" in one_line(caught.value)


def test_sam_names_a_checkpoint_of_sam_2(tiny21: Path) -> None:

    with pytest.raises(
        WeightsError, match=r"looks like sam2\.1-tiny; expected weights of sam-vit-b; load it as 'sam2\.1-tiny'"
    ):
        SAM.load("sam-vit-b", weights=str(tiny21), device="cpu", dtype="auto")


@pytest.mark.slow
def test_a_truncated_file_is_named_with_what_it_looks_like(tiny21: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.pt"
    torn.write_bytes(tiny21.read_bytes()[: tiny21.stat().st_size // 2])
    with pytest.raises(WeightsError) as caught:
        samovar.load(torn, device="cpu")
    message = one_line(caught.value)
    assert "it ends after" in message
    assert "it looks like sam2.1-tiny" in message


def test_a_pickled_exploit_is_named_and_not_run(tmp_path: Path) -> None:
    proof, path = tmp_path / "proof", tmp_path / "w.pt"

    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {proof}",)

    torch.save({"model": random_weights(), "bait": Exploit()}, path)
    with pytest.raises(WeightsError) as caught:
        load("sam2.1-tiny", path)
    assert ".system when loaded" in one_line(caught.value)
    assert not proof.exists()


def test_float16_on_a_cpu_is_refused(tiny21: Path) -> None:
    with pytest.raises(DeviceError, match="float16 is not usable on a CPU"):
        load("sam2.1-tiny", tiny21, dtype="float16")


@pytest.mark.slow
def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = random_weights(PUBLISHED)
    del weights["sam_mask_decoder.conv_s1.bias"], weights["sam_mask_decoder.obj_score_token.weight"]
    torch.save({"model": weights}, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        load("sam2.1-tiny", tmp_path / "w.pt")
    assert "'sam_mask_decoder.obj_score_token.weight' in the weights; it is missing" in one_line(caught.value)


def test_every_model_is_registered_with_what_it_needs() -> None:
    specs = {spec.name: spec for spec in list_segmenters()}
    for model in MODELS:
        spec = specs[model.name]
        assert spec.licence == "Apache-2.0"
        assert spec.extra == "sam"
        assert spec.parameters
        assert spec.embedding_bytes == 16 << 20
        assert spec.weights
        assert "cuda" in spec.devices


def test_listing_models_and_recognising_a_checkpoint_imports_no_torch(tiny21: Path) -> None:
    code = (
        "import sys, samovar; from samovar.plugins import identify_weights;"
        "assert any(s.name == 'sam2.1-tiny' for s in samovar.list_segmenters());"
        f"assert identify_weights({str(tiny21)!r}) == 'sam2.1-tiny';"
        "print(*({'torch', 'numba', 'cv2', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
