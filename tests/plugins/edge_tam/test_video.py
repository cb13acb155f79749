"""EdgeTAM follows objects with its own memory, as transformers' video model does on the same weights and features.

Random weights on frames of 256 pixels, where the Perceiver's windows are the smallest that it takes. Needs transformers
(`nox -s extras`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="nox -s extras installs it")

import torch
from torch import Tensor
from transformers.models.edgetam_video.modeling_edgetam_video import EdgeTamVideoInferenceSession

from samovar import Image, Prompt
from samovar.errors import WeightsError
from samovar.testing import TrackerTests
from samovar.tracking import Tracker, VideoSegmenter
from samovar_plugins.edge_tam.rep_vit import VIDEO, convert_memory_name, memory_tracker
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.toolkit import SamVideoSegmenter
from tests.plugins.edge_tam.weights import PUBLISHED, random_weights, tiny_of

pytestmark = pytest.mark.slow

SIDE = 256


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """A whole checkpoint under Meta's names."""
    torch.manual_seed(2)
    found = {convert_memory_name(name): tensor for name, tensor in VIDEO.model(SIDE).state_dict().items()}
    for name, tensor in found.items():
        if tensor.ndim >= 2 and "norm" not in name:  # masks of fresh weights are all alike
            found[name] = tensor + 0.02 * torch.randn_like(tensor)
    for name in [name for name in found if ".k_proj." in name and name.startswith("spatial_perceiver.")]:
        both = [found.pop(name), found.pop(name.replace("k_proj", "v_proj"))]
        found[name.replace("k_proj", "to_kv")] = torch.cat(both)
    return found | random_weights(PUBLISHED, 256, 2048)


@pytest.fixture(scope="module")
def sam(tensors: dict[str, Tensor]) -> SamVideoSegmenter:
    made = tiny_of(tensors, SIDE)
    assert isinstance(made, SamVideoSegmenter)
    return made


class TestMemory(TrackerTests):
    @pytest.fixture
    def new_tracker(self, sam: SamVideoSegmenter) -> Callable[[], Tracker]:
        return sam.tracker


def test_it_is_a_segmenter_with_memory(sam: SamVideoSegmenter) -> None:
    assert isinstance(sam, VideoSegmenter)


def test_masks_are_those_of_the_published_tracker(sam: SamVideoSegmenter) -> None:
    ours = sam.tracker()
    assert isinstance(ours, MemoryTracker)
    theirs: Any = ours._model
    session = EdgeTamVideoInferenceSession(video_height=90, video_width=120, dtype=torch.float32)
    points = torch.tensor([[60 / 120, 45 / 90], [10 / 120, 80 / 90]]) * SIDE
    labels = torch.tensor([1, 0], dtype=torch.int32)
    session.add_point_inputs(
        session.obj_id_to_idx(1), 0, {"point_coords": points[None, None], "point_labels": labels[None, None]}
    )
    session.obj_with_new_inputs = [1]

    random = np.random.default_rng(4)
    frames = [Image(random.integers(0, 255, (90, 120, 3), np.uint8)) for _ in range(12)]
    ours.start(frames[0], Prompt(points=[[60, 45], [10, 80]], point_labels=[1, 0]))
    for number, frame in enumerate(frames):
        if number:
            ours.step(frame)
        session.cache.cache_vision_features(number, ours._session.cache.get_vision_features(number))
        with torch.inference_mode():
            answer = theirs(inference_session=session, frame=torch.zeros(1, 3, SIDE, SIDE))
        expected = answer.pred_masks[0, 0].numpy()
        assert np.std(expected) > 0.05, "masks of random weights must not all be flat"
        assert np.abs(ours.logits()[1] - expected).max() <= 1e-3, number


def test_a_missing_tensor_is_named(tensors: dict[str, Tensor], sam: SamVideoSegmenter) -> None:
    torn = {name: tensor for name, tensor in tensors.items() if name != "spatial_perceiver.latents"}
    with pytest.raises(WeightsError, match=r"expected spatial_perceiver\.latents of 256×64; got nothing"):
        memory_tracker(lambda: torn, sam)
