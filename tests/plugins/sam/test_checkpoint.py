"""Checkpoints are recognised by their headers, without torch and without running anything."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from samovar.errors import WeightsError
from samovar_plugins.sam.plugin import FAMILY, MODELS, Model, detect, identify_weights
from samovar_plugins.toolkit import Detected, convert_state_dict, load_tensors, read_header
from tests.plugins.sam.weights import MOBILE, Sizes, random_weights, shapes


def published(model: Model) -> Sizes:
    if model.kind in ("mobile-sam", "sam-hq-tiny"):
        return MOBILE
    heads = {768: 12, 192: 3, 384: 6}.get(model.width, 16)
    return Sizes(1024, 256, model.width, model.depth, heads, 14, 2048)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_is_recognised_by_its_shapes(model: Model) -> None:
    found = detect(shapes(model.kind, published(model)))
    assert found is not None
    assert found.names == (model.name,)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_parameters_are_those_of_the_published_shapes(model: Model) -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked", "positional_encoding_gaussian_matrix")
    every = shapes(model.kind, published(model))
    total = sum(torch.Size(shape).numel() for name, shape in every.items() if not name.endswith(buffers))
    assert total == model.parameters


def save(path: Path, tensors: dict[str, Tensor], nested: str | None = None, **options: Any) -> Path:
    torch.save({nested: tensors} if nested else tensors, path, **options)
    return path


def safetensors(path: Path, tensors: dict[str, Tensor]) -> Path:
    """By the format's specification: a length, a table in JSON, and the bytes."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = io.BytesIO()
    for name, tensor in tensors.items():
        start = data.tell()
        data.write(tensor.numpy().tobytes())
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        table[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, data.tell()]}
    header = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data.getvalue())
    return path


WRITERS: dict[str, Callable[[Path, dict[str, Tensor]], Path]] = {
    "zip": lambda folder, tensors: save(folder / "w.pth", tensors),
    "nested": lambda folder, tensors: save(folder / "w.pt", tensors, "model"),
    "legacy": lambda folder, tensors: save(folder / "w.pth", tensors, _use_new_zipfile_serialization=False),
    "safetensors": lambda folder, tensors: safetensors(folder / "w.safetensors", tensors),
    "folder": lambda folder, tensors: safetensors(folder / "model.safetensors", tensors).parent,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_shapes_and_tensors_are_read_back_from_every_format(writer: str, tmp_path: Path) -> None:
    weights = random_weights("mobile-sam")
    path = WRITERS[writer](tmp_path, weights)
    header = read_header(path)
    assert header.missing is None
    assert header.foreign == ()
    assert header.shapes == {name: tuple(tensor.shape) for name, tensor in weights.items()}
    loaded = load_tensors(path, header)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())


def test_a_folder_in_several_parts_is_one_checkpoint(tmp_path: Path) -> None:
    weights = random_weights("sam")
    names = list(weights)
    halves = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for file, part in halves.items():
        safetensors(tmp_path / file, {name: weights[name] for name in part})
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_header(tmp_path).shapes.keys() == weights.keys()


@pytest.mark.slow
@pytest.mark.parametrize("writer", ["zip", "safetensors"])
def test_a_truncated_file_still_says_what_it_was(writer: str, tmp_path: Path) -> None:
    path = WRITERS[writer](tmp_path, random_weights("mobile-sam", MOBILE))
    os.truncate(path, path.stat().st_size // 2)
    header = read_header(path)
    assert header.missing is not None
    assert "MB" in header.missing
    assert identify_weights(path) == "mobile-sam"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02", b"hello, world, this is text", b"\x00" * 64])
def test_what_is_no_checkpoint_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_header(path)
    assert len(str(caught.value).splitlines()) == 1
    assert identify_weights(path) is None


class Exploit:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


def test_a_pickle_that_would_run_something_is_read_without_running_it(tmp_path: Path) -> None:
    proof, path = tmp_path / "proof", tmp_path / "w.pth"
    save(path, {**random_weights("mobile-sam"), "bait": Exploit(proof)})
    header = read_header(path)
    assert header.foreign == (f"{os.system.__module__}.system",)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Exploit(proof)))
    assert proof.exists(), "the exploit of this test does nothing by itself"


def test_bytes_at_random_are_refused_or_read_but_never_anything_else(tmp_path: Path) -> None:
    path, random = tmp_path / "w.pth", np.random.default_rng(0)
    whole = save(path, {"a.weight": torch.ones(2, 3)}, "model", _use_new_zipfile_serialization=False).read_bytes()
    for _ in range(500):
        bytes_ = bytearray(whole)
        for place in random.integers(1, len(whole), 3):
            bytes_[place] = random.integers(256)
        path.write_bytes(bytes_)
        with suppress(WeightsError):
            read_header(path)


@pytest.mark.slow
def test_a_few_bytes_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")  # None, as the two thousand millionth object to be remembered
    assert read_header(path).shapes == {}
    path.write_bytes(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.")  # a string of eight exabytes
    with pytest.raises(WeightsError, match="torn or no checkpoint"):
        read_header(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(200 << 20))
    with pytest.raises(WeightsError, match="a table of contents longer than any checkpoint's"):
        read_header(path)


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}.")
        archive.writestr("w/constants.pkl", b"\x80\x02).")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_header(path)


def test_a_pickle_without_tensors_is_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(OrderedDict(a=1)))
    assert identify_weights(path) is None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["image_encoder.trunk.blocks.0.attn.qkv.weight"], "a SAM 2 checkpoint"),
        (["backbone.0.weight"], "a detector checkpoint"),
        (["some.weight", "other.weight"], "an unknown architecture (some.weight, other.weight …)"),
        ([], "no tensors"),
    ],
)
def test_strangers_are_called_what_they_look_like(names: list[str], words: str, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", {name: torch.zeros(1) for name in names})
    with pytest.raises(WeightsError) as caught:
        FAMILY.load("sam-vit-b", weights=str(path), device="cpu", dtype="auto")
    assert f"looks like {words}; expected weights of sam-vit-b; name the model" in str(caught.value)


def test_a_model_of_the_family_in_another_size_is_called_that() -> None:
    found = detect(shapes("sam"))
    assert found == Detected("a SAM with an encoder of 32 channels and 3 blocks")


def test_metas_names_are_left_alone() -> None:
    every = shapes("sam-hq")
    assert convert_state_dict(every) == every
