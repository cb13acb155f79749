"""EdgeTAM's encoder, and its checkpoint on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import samovar
from samovar.errors import WeightsError
from samovar.plugins import identify_weights, list_segmenters
from samovar_plugins.edge_tam.plugin import FAMILY, NAME, convert, detect
from samovar_plugins.edge_tam.rep_vit import RepVit
from samovar_plugins.sam2.plugin import FAMILY as SAM2
from samovar_plugins.toolkit import Detected, StateDict
from tests.plugins.edge_tam.weights import PUBLISHED, TINY, TOP, random_weights, shapes


@pytest.fixture(scope="module")
def edgetam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in Meta's format, with random weights."""
    path = tmp_path_factory.mktemp("weights") / "edgetam.pt"
    torch.save({"model": random_weights(PUBLISHED, 256, 2048)}, path)
    return path


def normed(weights: dict[str, Tensor], name: str, x: Tensor, *, stride: int = 1, depthwise: bool = False) -> Tensor:
    """A convolution and then its normalisation, as published."""
    kernel = weights[f"{name}.c.weight"]
    groups = len(kernel) if depthwise else 1
    x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
    mean, variance, scale, shift = (
        weights[f"{name}.bn.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(x, mean, variance, scale, shift)


def mixed(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x + normed(weights, f"{name}.conv2", functional.gelu(normed(weights, f"{name}.conv1", x)))


def block(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    wide = normed(weights, f"{name}.token_mixer.conv", x, depthwise=True)
    x = wide + normed(weights, f"{name}.token_mixer.conv1", x, depthwise=True) + x
    if f"{name}.se.fc1.weight" in weights:
        first, last = ((weights[f"{name}.se.{fc}.weight"], weights[f"{name}.se.{fc}.bias"]) for fc in ("fc1", "fc2"))
        means = x.mean((2, 3), keepdim=True)
        x = x * torch.sigmoid(functional.conv2d(functional.relu(functional.conv2d(means, *first)), *last))
    return mixed(weights, f"{name}.channel_mixer", x)


def test_the_merged_encoder_equals_the_published_branches() -> None:
    weights = random_weights()
    frames = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x = normed(weights, f"{TOP}.stem.conv1", frames, stride=2)
    x = normed(weights, f"{TOP}.stem.conv2", functional.gelu(x), stride=2)
    expected = []
    for stage, count in enumerate(TINY[1]):
        if stage:
            down = f"{TOP}.stages_{stage}.downsample"
            x = block(weights, f"{down}.pre_block", x)
            x = normed(weights, f"{down}.spatial_downsample", x, stride=2, depthwise=True)
            x = mixed(weights, f"{down}.ffn", normed(weights, f"{down}.channel_downsample", x))
        for index in range(count):
            x = block(weights, f"{TOP}.stages_{stage}.blocks.{index}", x)
        expected.append(x.permute(0, 2, 3, 1))
    got = RepVit(StateDict(weights).at(TOP), 64)(frames)
    assert [map_.shape[1] for map_ in got] == [16, 8, 4, 2]
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.slow
def test_a_checkpoint_of_meta_is_recognised_by_its_path_alone(edgetam: Path) -> None:
    assert identify_weights(edgetam) == NAME
    assert samovar.load(edgetam, device="cpu", cache="off").name == NAME


@pytest.mark.slow
def test_a_full_size_checkpoint_answers(edgetam: Path, photo: Path) -> None:
    model = FAMILY.load(NAME, weights=str(edgetam), device="cpu", dtype="auto")
    (embedding,) = model.encode([samovar.Image(photo)])
    (spec,) = [spec for spec in list_segmenters() if spec.name == NAME]
    assert embedding.nbytes == spec.embedding_bytes


def test_the_names_of_hugging_face_are_understood() -> None:
    name = "vision_encoder.backbone.timm_model.stages_0.blocks.0.se.fc1.weight"
    assert convert({name: 0}) == {f"{TOP}.stages_0.blocks.0.se.fc1.weight": 0}


def test_other_sizes_are_described_and_refused(tmp_path: Path) -> None:
    assert detect(shapes()) == Detected("an EdgeTAM with an encoder of 8 channels")
    torch.save(random_weights(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="looks like an EdgeTAM with an encoder of 8 channels; expected weights of"):
        FAMILY.load(NAME, weights=str(tmp_path / "w.pt"), device="cpu", dtype="auto")


@pytest.mark.slow
def test_sam_2_says_what_it_is_given(edgetam: Path) -> None:

    with pytest.raises(
        WeightsError, match=r"looks like edge-tam; expected weights of sam2\.1-tiny; load it as 'edge-tam'"
    ):
        SAM2.load("sam2.1-tiny", weights=str(edgetam), device="cpu", dtype="auto")


def test_a_truncated_file_is_named_with_what_it_looks_like(edgetam: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.pt"
    torn.write_bytes(edgetam.read_bytes()[:1_000_000])
    with pytest.raises(WeightsError, match=r"torn: it ends after 1\.0 of .* MB; it looks like edge-tam"):
        samovar.load(torn, device="cpu")


def test_parameters_are_those_of_the_published_shapes() -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked", "positional_encoding_gaussian_matrix")
    every = shapes(PUBLISHED, 256, 2048)
    total = sum(torch.Size(shape).numel() for name, shape in every.items() if not name.endswith(buffers))
    (spec,) = [spec for spec in list_segmenters() if spec.name == NAME]
    assert total == spec.parameters
