"""SAM 3 follows objects with its own memory, as transformers' video model does on the same weights.

A few frames only: memory is kept in bfloat16, and random weights blow the rounding of one frame up in the next.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="nox -s extras installs it")

import torch
from PIL import Image as Pillow
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
    Sam3TrackerVideoInferenceSession,
    Sam3TrackerVideoModel,
)

import samovar
from samovar import Image, Prompt, Runtime
from samovar.testing import TrackerTests
from samovar.tracking import Tracker, VideoSegmenter
from samovar_plugins.sam2.memory import MemoryTracker
from tests.plugins.sam3.tiny import reference, save

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = save(reference(width=128), tmp_path_factory.mktemp("weights") / "sam3")
    return samovar.load("sam3", weights=folder, device="cpu", dtype="float32", cache="off")


class TestMemory(TrackerTests):
    @pytest.fixture
    def new_tracker(self, sam: Runtime) -> Callable[[], Tracker]:
        assert isinstance(sam.segmenter, VideoSegmenter)
        return sam.segmenter.tracker


def test_masks_are_those_of_the_published_tracker(tmp_path: Path) -> None:
    model = reference(width=128)
    folder = save(model, tmp_path / "sam3")
    sam = samovar.load("sam3", weights=folder, device="cpu", dtype="float32", cache="off")
    assert isinstance(sam.segmenter, VideoSegmenter)
    ours = sam.segmenter.tracker()
    assert isinstance(ours, MemoryTracker)

    random = np.random.default_rng(4)
    frames = [Image(random.integers(0, 255, (90, 120, 3), np.uint8)) for _ in range(4)]

    def tensor(frame: Image) -> torch.Tensor:
        small = np.array(Pillow.fromarray(frame.pixels).resize((112, 112)))
        return (torch.from_numpy(small).permute(2, 0, 1).float() / 255 - 0.5)[None] / 0.5

    theirs = model.tracker_model
    # In the whole model its encoder is the detector's.
    theirs.vision_encoder = Sam3TrackerVideoModel.from_pretrained(str(folder)).vision_encoder
    session = Sam3TrackerVideoInferenceSession(video_height=90, video_width=120, dtype=torch.float32)
    click = torch.tensor([60 / 120, 45 / 90]) * 112
    points = {"point_coords": click[None, None, None], "point_labels": torch.ones(1, 1, 1, dtype=torch.int32)}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, points)
    session.obj_with_new_inputs = [1]
    ours.start(frames[0], Prompt(points=[[60, 45]]))
    for number, frame in enumerate(frames):
        if number:
            ours.step(frame)
        with torch.inference_mode():
            expected = theirs(inference_session=session, frame=tensor(frame)).pred_masks[0, 0].numpy()
        assert np.abs(ours.logits()[1] - expected).max() <= 1e-3, number
