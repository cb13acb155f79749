"""A SAM 2 checkpoint as Meta publishes it brings its own tracker. Needs transformers (`nox -s models`)."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers", reason="nox -s models installs it")

import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

import samovar
from samovar import Image, Prompt, Runtime
from samovar.errors import InputError, WeightsError
from samovar.tracking import VideoSegmenter
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.sam2.video import memory_tracker
from samovar_plugins.sam2.video_names import renamed

POINTS = "sam_prompt_encoder.point_embeddings"


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Random weights of SAM 2.1 tiny under Meta's names."""
    torch.manual_seed(1)
    config = Sam2VideoConfig(
        enable_temporal_pos_encoding_for_object_pointers=True, enable_occlusion_spatial_embedding=True
    )
    found = {renamed(name): tensor for name, tensor in Sam2VideoModel(config).state_dict().items()}
    together = found.pop(f"{POINTS}.weight")
    return found | {f"{POINTS}.{kind}.weight": together[kind : kind + 1] for kind in range(4)}


@pytest.fixture(scope="module")
def sam(tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": tensors}, path)
    return samovar.load(path, device="cpu", dtype="float32", cache="off")


def test_the_checkpoint_is_a_segmenter_with_memory(sam: Runtime) -> None:
    assert isinstance(sam.segmenter, VideoSegmenter)
    frame = Image(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    tracker = sam.segmenter.tracker()
    assert isinstance(tracker, MemoryTracker)
    masks = tracker.start(frame, [Prompt(box=(5, 5, 40, 40), label="a"), Prompt(points=[[60, 30]], id="b")])
    assert (masks.ids, masks.labels, masks.width, masks.height) == ((1, "b"), ("a", None), 80, 60)
    assert tracker.step(frame).ids == (1, "b")


def test_a_restored_tracker_goes_on_exactly_as_the_saved_one(sam: Runtime) -> None:
    random = np.random.default_rng(0)
    frames = [Image(random.integers(0, 255, (60, 80, 3), np.uint8)) for _ in range(4)]
    assert isinstance(sam.segmenter, VideoSegmenter)
    one, other = sam.segmenter.tracker(), sam.segmenter.tracker()
    assert isinstance(one, MemoryTracker)
    assert isinstance(other, MemoryTracker)
    one.start(frames[0], Prompt(box=(5, 5, 40, 40), label="a", id="x"))
    one.step(frames[1])
    other.restore(one.snapshot())
    for tracker in (one, other):
        tracker.correct("x", Prompt(points=[[20, 20]]))
        tracker.step(frames[2])
    assert np.array_equal(one.logits()["x"], other.logits()["x"])
    with pytest.raises(InputError, match="track from the start"):
        other.restore({"state": np.array("{}")})


def test_a_missing_tensor_is_named(tensors: dict[str, torch.Tensor]) -> None:
    torn = {name: tensor for name, tensor in tensors.items() if name != "maskmem_tpos_enc"}
    with pytest.raises(WeightsError, match="expected maskmem_tpos_enc of 7×1×1×64; got nothing"):
        memory_tracker(Sam2VideoConfig(), torn, device="cpu", dtype=torch.float32)
