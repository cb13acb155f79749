"""A SAM 2 checkpoint as Meta publishes it brings its own tracker. Needs transformers (`nox -s extras`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

pytest.importorskip("transformers", reason="nox -s extras installs it")

import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

import samovar
from samovar import Image, Prompt, Runtime
from samovar.cache import Cache, MemoryTier
from samovar.embedding import Embedding
from samovar.errors import InputError, WeightsError
from samovar.tracking import VideoSegmenter
from samovar_plugins.sam2.decoder import build_sam2
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.sam2.plugin import MODELS, convert_video_name
from samovar_plugins.sam2.video import memory_tracker
from samovar_plugins.toolkit import SamSegmenter, assemble

pytestmark = pytest.mark.slow

POINTS = "sam_prompt_encoder.point_embeddings"


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Random weights of SAM 2.1 tiny under Meta's names."""
    torch.manual_seed(1)
    config = Sam2VideoConfig(
        enable_temporal_pos_encoding_for_object_pointers=True, enable_occlusion_spatial_embedding=True
    )
    found = {convert_video_name(name): tensor for name, tensor in Sam2VideoModel(config).state_dict().items()}
    together = found.pop(f"{POINTS}.weight")
    return found | {f"{POINTS}.{kind}.weight": together[kind : kind + 1] for kind in range(4)}


@pytest.fixture(scope="module")
def sam(tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": tensors}, path)
    return samovar.load(path, device="cpu", dtype="float32", cache="off")


@pytest.fixture(scope="module")
def small(tensors: dict[str, torch.Tensor]) -> SamSegmenter:
    """The same weights for frames of 256 pixels, which takes a sixteenth of the time."""
    layout = next(model.layout for model in MODELS if model.name == "sam2.1-tiny")
    made = assemble("sam2.1-tiny", lambda given: build_sam2(layout, given.state, 256), tensors)
    assert isinstance(made, SamSegmenter)
    return made


def test_the_checkpoint_is_a_segmenter_with_memory(sam: Runtime) -> None:
    assert isinstance(sam.segmenter, VideoSegmenter)
    frame = Image(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    tracker = sam.segmenter.tracker()
    assert isinstance(tracker, MemoryTracker)
    masks = tracker.start(frame, [Prompt(box=(5, 5, 40, 40), label="a"), Prompt(points=[[60, 30]], id="b")])
    assert (masks.ids, masks.labels, masks.width, masks.height) == ((1, "b"), ("a", None), 80, 60)
    assert tracker.step(frame).ids == (1, "b")


def test_a_restored_tracker_goes_on_exactly_as_the_saved_one(
    tensors: dict[str, torch.Tensor], small: SamSegmenter
) -> None:
    random = np.random.default_rng(0)
    frames = [Image(random.integers(0, 255, (60, 80, 3), np.uint8)) for _ in range(4)]
    one, other = (memory_tracker(lambda: tensors, small) for _ in range(2))
    one.start(frames[0], Prompt(box=(5, 5, 40, 40), label="a", id="x"))
    one.step(frames[1])
    other.restore(one.snapshot())
    for tracker in (one, other):
        tracker.correct("x", Prompt(points=[[20, 20]]))
        tracker.step(frames[2])
    assert np.array_equal(one.logits()["x"], other.logits()["x"])
    with pytest.raises(InputError, match="track from the start"):
        other.restore({"state": np.array("{}")})


def test_following_something_else_encodes_nothing(
    tensors: dict[str, torch.Tensor], small: SamSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = SamSegmenter.encode
    encoded: list[Image] = []

    def counted(self: SamSegmenter, images: Sequence[Image]) -> list[Embedding]:
        encoded.extend(images)
        return encode(self, images)

    monkeypatch.setattr(SamSegmenter, "encode", counted)
    random = np.random.default_rng(0)
    frames = [Image(random.integers(0, 255, (60, 80, 3), np.uint8)) for _ in range(2)]
    cache = Cache([MemoryTier(1 << 28)], admission="always")
    for prompt in (Prompt(box=(5, 5, 40, 40)), Prompt(points=[[60, 30]])):
        tracker = memory_tracker(lambda: tensors, small, cache)
        tracker.prefetch(frames)
        tracker.start(frames[0], prompt)
        tracker.step(frames[1])
    assert len(encoded) == 2


def test_the_names_of_hugging_face_are_understood(tensors: dict[str, torch.Tensor], small: SamSegmenter) -> None:
    config = Sam2VideoConfig(
        enable_temporal_pos_encoding_for_object_pointers=True, enable_occlusion_spatial_embedding=True
    )
    known = {**tensors, f"{POINTS}.weight": torch.cat([tensors[f"{POINTS}.{kind}.weight"] for kind in range(4)])}
    theirs = {name: known[convert_video_name(name)] for name in Sam2VideoModel(config).state_dict()}
    ours, other = (memory_tracker(partial(dict, one), small) for one in (tensors, theirs))
    for name, tensor in ours._model.state_dict().items():
        assert torch.equal(tensor, other._model.state_dict()[name]), name


def test_a_missing_tensor_is_named(tensors: dict[str, torch.Tensor], small: SamSegmenter) -> None:
    torn = {name: tensor for name, tensor in tensors.items() if name != "maskmem_tpos_enc"}
    with pytest.raises(WeightsError, match="expected maskmem_tpos_enc of 7×1×1×64; got nothing"):
        memory_tracker(lambda: torn, small)
