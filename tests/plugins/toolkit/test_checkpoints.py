"""Checkpoints as trainers save them: what is unwrapped, what is refused, and what is said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason='networks need torch; pip install "samovar[sam]"')

import torch
from safetensors.torch import save_file
from torch import Tensor

import samovar
from samovar import Image, Prompt, Prompts
from samovar.errors import InputError, WeightsError
from samovar.fingerprint import Fingerprint
from samovar.protocols import DecodeOptions, Segmenter
from samovar.testing.scenes import scene
from samovar_plugins.toolkit import Stretch, read_header
from samovar_plugins.toolkit.resize import ResizeLongestSide, configured
from tests.plugins.sam.weights import random_weights
from tests.plugins.toolkit.small import FAMILY, NAME

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> Tensors:
    return random_weights("sam")


def load(path: Path, **options: Any) -> Segmenter:
    return FAMILY.load(NAME, weights=str(path), device="cpu", dtype="auto", **options)


def save(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def embedding(model: Segmenter) -> Any:
    return model.encode([Image(scene(64, 48))])[0]


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        load(path, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


WRAPPERS: dict[str, Any] = {
    "distributed": lambda given: {f"module.{name}": tensor for name, tensor in given.items()},
    "lightning": lambda given: {"state_dict": {f"model.{name}": tensor for name, tensor in given.items()}, "epoch": 3},
    "compiled": lambda given: {"net": {f"_orig_mod.{name}": tensor for name, tensor in given.items()}},
    "micro-sam": lambda given: {
        "model_state": {f"sam.{name}": tensor for name, tensor in given.items()},
        "decoder_state": {"x": torch.zeros(1)},
    },
    "nested": lambda given: {"model": {"sam": given}},
    "averaged": lambda given: {"ema": given, "step": 7},
    "twice": lambda given: {f"module.model.{name}": tensor for name, tensor in given.items()},
}


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_trainers_put_around_weights_is_taken_off(wrapper: str, weights: Tensors, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", WRAPPERS[wrapper](weights))
    plain = save(tmp_path / "plain.pth", weights)
    assert FAMILY.identify(path) == NAME
    assert load(path).fingerprint == load(plain).fingerprint


def test_harmless_things_beside_the_tensors_are_taken(weights: Tensors, tmp_path: Path) -> None:
    beside = [torch.device("cpu"), torch.float32, torch.Size([1]), {1, 2}, Counter("aab"), 1j]
    path = save(tmp_path / "w.pth", {"model": weights, "beside": beside})
    assert read_header(path).foreign == ()
    assert load(path).fingerprint == load(save(tmp_path / "plain.pth", weights)).fingerprint


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra",
    [
        "image_encoder.blocks.0.Adapter.fc.weight",
        "mask_decoder.transformer.layers.0.MLP_Adapter.fc.weight",
        "loss.weight",
    ],
)
def test_tensors_that_the_model_does_not_know_are_named(extra: str, weights: Tensors, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", {**weights, extra: torch.zeros(2, 2)})
    message = refused(path)
    assert f"has 1 tensors that {NAME} does not know ({extra})" in message
    assert "strict=False" in message
    plain, lenient = load(save(tmp_path / "plain.pth", weights)), load(path, strict=False)
    assert np.array_equal(embedding(plain).tensors["image"], embedding(lenient).tensors["image"])
    marks = [Fingerprint.of(model.fingerprint) for model in (plain, lenient)]
    assert marks[0].encoder == marks[1].encoder
    assert marks[0].decoder != marks[1].decoder


@pytest.mark.parametrize(
    "lost",
    [
        "mask_decoder.output_hypernetworks_mlps.2.layers.2.",
        "mask_decoder.iou_prediction_head.layers.2.",
        "mask_decoder.iou_prediction_head.layers.1.",
        "image_encoder.blocks.1.",
        "prompt_encoder.not_a_point_embed.weight",
    ],
)
def test_incomplete_weights_are_refused(lost: str, weights: Tensors, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", {name: tensor for name, tensor in weights.items() if not name.startswith(lost)})
    message = refused(path)
    assert lost.rpartition(".layers.")[0].rpartition(".")[2] in message or "missing" in message


def test_a_lora_that_renames_modules_is_refused(weights: Tensors, tmp_path: Path) -> None:
    renamed = {name.replace("attn.qkv.", "attn.qkv.qkv."): tensor for name, tensor in weights.items()}
    assert "'image_encoder.blocks.0.attn.qkv.weight' in the weights; it is missing" in refused(
        save(tmp_path / "w.pth", renamed)
    )


def test_sharded_pickles_are_one_checkpoint(weights: Tensors, tmp_path: Path) -> None:
    names = list(weights)
    halves = {"pytorch_model-1.bin": names[:20], "pytorch_model-2.bin": names[20:]}
    for file, part in halves.items():
        save(tmp_path / file, {name: weights[name] for name in part})
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert FAMILY.identify(tmp_path) == NAME
    load(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
    ],
)
def test_files_that_are_no_checkpoints_are_called_what_they_are(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    assert words in refused(path)


def test_samovar_load_hands_on_that_weights_are_known_in_part(weights: Tensors, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'default' takes no weights that it knows only in part"):
        samovar.load("default", strict=False)


class TestPreprocessing:
    """A folder's preprocessor_config.json is honoured or refused, never passed over."""

    def folder(self, weights: Tensors, tmp_path: Path, **config: Any) -> Path:
        save_file(weights, tmp_path / "model.safetensors")
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
        return tmp_path

    def test_what_is_published_changes_nothing(self, weights: Tensors, tmp_path: Path) -> None:
        published = {
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "resample": 2,
            "rescale_factor": 0.00392156862745098,
            "size": {"longest_edge": 64},
        }
        plain = load(save(tmp_path / "plain.pth", weights))
        assert load(self.folder(weights, tmp_path, **published)).fingerprint == plain.fingerprint

    def test_another_mean_is_used(self, weights: Tensors, tmp_path: Path) -> None:
        plain = load(save(tmp_path / "plain.pth", weights))
        other = load(self.folder(weights, tmp_path, image_mean=[0, 0, 0], image_std=[1, 1, 1]))
        (one,), (two,) = ([embedding(model)] for model in (plain, other))
        assert not np.allclose(one.tensors["image"], two.tensors["image"])
        asked = [Prompts.of(Prompt(box=(5, 5, 50, 40)))]
        assert len(other.decode([two], asked, DecodeOptions())[0]) == 1

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"size": {"height": 64, "width": 64}}, "images resized with size"),
            ({"resample": 3}, "images resized with resample 3; expected 2"),
            ({"do_rescale": False}, "images resized with do_rescale False"),
            ({"rescale_factor": 1.0}, "pixels scaled by 1.0; expected 1/255"),
            ({"image_mean": "grey"}, "preprocessor_config.json is not as expected"),
        ],
    )
    def test_what_cannot_be_done_is_refused(
        self, config: dict[str, Any], said: str, weights: Tensors, tmp_path: Path
    ) -> None:
        assert said in refused(self.folder(weights, tmp_path, **config))

    def test_a_stretched_square_is_that_of_its_model(self) -> None:
        stretch, size = Stretch(1024), {"size": {"height": 1024, "width": 1024}}
        assert configured(stretch, size, "w") == stretch
        with pytest.raises(WeightsError, match="images resized with size"):
            configured(ResizeLongestSide(1024), size, "w")
        plain = configured(stretch, {"do_normalize": False}, "w")
        assert plain == Stretch(1024, mean=(0, 0, 0), deviation=(1, 1, 1))
