"""What the cache is keyed by: the weights themselves, whatever they lie in and wherever that is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch", reason='networks need torch; pip install "samovar[sam]"')

import torch
from safetensors.torch import save_file
from torch import Tensor

from samovar import Image
from samovar.errors import PluginError, WeightsError
from samovar.fingerprint import Fingerprint
from samovar.protocols import Segmenter
from samovar.testing.scenes import scene
from samovar_plugins.sam.plugin import build_sam
from samovar_plugins.toolkit import Detected, Family, StateDict, Weights, fingerprints
from tests.plugins.sam.weights import random_weights, two_seeds
from tests.plugins.toolkit.small import FAMILY, NAME


def load(path: Path, **options: Any) -> Segmenter:
    return FAMILY.load(NAME, weights=str(path), device="cpu", dtype="float32", **options)


def mark(path: Path, **options: Any) -> Fingerprint:
    return Fingerprint.of(load(path, **options).fingerprint)


def weights(encoder: int = 0, decoder: int = 0) -> dict[str, Tensor]:
    return two_seeds(lambda seed: random_weights("sam", seed=seed), encoder, decoder)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are remembered."""
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights.sqlite"


def test_other_weights_at_the_same_path_never_hit(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(weights(), path)
    first = load(path)
    before = first.encode([Image(scene(64, 48))])[0]
    torch.save(weights(encoder=1), path)
    second = load(path)
    assert Fingerprint.of(first.fingerprint).encoder != Fingerprint.of(second.fingerprint).encoder
    after = first.encode([Image(scene(64, 48))])[0]
    assert np.array_equal(after.tensors["image"], before.tensors["image"]), (
        "what is loaded must not change with its file"
    )


@pytest.mark.slow
def test_a_container_is_no_part_of_the_weights(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "w.pth")
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in weights().items()}}, tmp_path / "ddp.pt")
    torch.save(weights(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(weights(), tmp_path / "w.safetensors")
    assert len({mark(path) for path in tmp_path.iterdir() if path.is_file()}) == 1


def test_a_fine_tuned_decoder_keeps_the_embeddings(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "a.pth")
    torch.save(weights(decoder=1), tmp_path / "b.pth")
    one, other = mark(tmp_path / "a.pth"), mark(tmp_path / "b.pth")
    assert one.encoder == other.encoder
    assert one.decoder != other.decoder


def test_dtype_and_resizing_are_part_of_what_embeddings_depend_on(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "w.pth")
    half = FAMILY.load(NAME, weights=str(tmp_path / "w.pth"), device="cpu", dtype="bfloat16")
    folder = tmp_path / "other"
    folder.mkdir()
    save_file(weights(), folder / "model.safetensors")
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    marks = {mark(tmp_path / "w.pth").encoder, Fingerprint.of(half.fingerprint).encoder, mark(folder).encoder}
    assert len(marks) == 3


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every file count as one that was changed long ago: the time of its change cannot be set."""
    monkeypatch.setattr(fingerprints, "RECENT", -1.0)


def test_a_file_that_lies_there_is_hashed_once(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"
    torch.save(weights(), path)
    settle(monkeypatch)
    first = mark(path)
    assert store.is_file()
    monkeypatch.setattr(fingerprints, "digests_of", lambda tensors: pytest.fail("hashed again"))
    assert mark(path) == first


def test_a_file_that_has_just_been_written_is_not_remembered(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(weights(), path)
    long_ago = time.time() - 1e6
    os.utime(path, (long_ago, long_ago))
    mark(path)
    assert not store.exists()


@pytest.mark.slow
def test_a_remembered_file_that_is_written_over_is_hashed(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    torch.save(weights(), path)
    settle(monkeypatch)
    before, first = path.stat(), mark(path)
    other = tmp_path / "other" / "w.pth"  # an archive holds its own name
    other.parent.mkdir()
    torch.save(weights(encoder=1), other)
    with path.open("r+b") as file:  # in place: the same inode, the same size, and the same time of change
        file.write(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_size == before.st_size
    assert mark(path).encoder != first.encoder


@pytest.mark.parametrize("damage", [b"", b"no database"])
def test_a_damaged_store_costs_only_time(
    damage: bytes, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    torch.save(weights(), path)
    settle(monkeypatch)
    first = mark(path)
    store.write_bytes(damage)
    assert mark(path) == first


def test_a_fingerprint_made_too_early_is_refused(tmp_path: Path) -> None:
    def build(given: Weights) -> Segmenter:
        made = SimpleNamespace(fingerprint=given.fingerprint())
        build_sam("sam", given.state)
        return cast("Segmenter", made)

    early = Family(FAMILY.specs, FAMILY.detect, build)
    torch.save(weights(), tmp_path / "w.pth")
    with pytest.raises(PluginError, match="took tensors after its fingerprint was made"):
        early.load(NAME, weights=str(tmp_path / "w.pth"), device="cpu", dtype="auto")


def test_resizing_that_repr_does_not_tell_is_refused(tmp_path: Path) -> None:
    given = Weights("x", StateDict({}), tmp_path, "cpu", torch.float32, dict, {}, {})
    with pytest.raises(PluginError, match="expected a object whose repr tells all of it"):
        given.fingerprint(object())


def test_weights_that_are_nowhere_published_must_be_given() -> None:
    with pytest.raises(WeightsError, match="'small-sam' has no published weights; pass weights=FILE"):
        FAMILY.load(NAME, weights=None, device="cpu", dtype="auto")


def test_what_a_family_does_not_know_is_called_what_it_looks_like(tmp_path: Path) -> None:
    family = Family(FAMILY.specs, lambda shapes: Detected("a SAM of another size"), FAMILY.build)
    torch.save(weights(), tmp_path / "w.pth")
    assert family.identify(tmp_path / "w.pth") is None
    with pytest.raises(WeightsError, match="looks like a SAM of another size; expected weights of small-sam"):
        family.load(NAME, weights=str(tmp_path / "w.pth"), device="cpu", dtype="auto")
