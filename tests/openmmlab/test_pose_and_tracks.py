"""MMPose's estimators and MMDetection's trackers, the real ones, and what they say as prompts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.models.trackers import ByteTracker
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import InstanceData
from mmpose.apis import MMPoseInferencer, inference_topdown, init_model
from mmpose.structures import merge_data_samples

from samovar import Image
from samovar.errors import InputError
from samovar.loading import open_source
from samovar_adapters.instances import Columns, to_prompts
from tests.openmmlab.detectors import write_pose

BOXES = np.array([[75, 68, 300, 392], [280, 68, 484, 392]], np.float32)


@pytest.fixture(scope="module")
def pose(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The config and the checkpoint of a pose estimator."""
    folder = tmp_path_factory.mktemp("pose")
    write_pose(folder)
    return str(folder / "pose.py"), str(folder / "pose.pth")


def test_poses_in_memory_are_prompts(pose: tuple[str, str], photo: Path) -> None:
    people = merge_data_samples(inference_topdown(init_model(*pose, device="cpu"), str(photo), BOXES))
    found = people.pred_instances.keypoints
    prompts = to_prompts(people, 600, 400)
    assert np.array_equal(prompts.boxes, BOXES)
    for prompt, points in zip(prompts, found):
        assert prompt.points is not None
        assert prompt.point_labels is not None
        x, y = points.T
        inside = (x >= 0) & (y >= 0) & (x < 600) & (y < 400)
        assert np.array_equal(prompt.points[prompt.point_labels == 1], points[inside].astype(np.float32))
        assert inside.sum() > 3


def test_poses_in_the_files_of_the_inferencer_are_the_same(pose: tuple[str, str], photo: Path, tmp_path: Path) -> None:
    inferencer = MMPoseInferencer(pose[0], pose[1], device="cpu", det_model="whole_image")
    (result,) = inferencer(str(photo), pred_out_dir=str(tmp_path))
    (prompts,) = open_source(f"instances={tmp_path}").prompts([Image(photo)])
    assert prompts.boxes.tolist() == [[0, 0, 600, 400]]
    written = Columns.of(json.loads((tmp_path / f"{photo.stem}.json").read_text()))
    given = Columns.of(result["predictions"][0])
    for one, other, shape in (
        (written.keypoints, given.keypoints, (1, 17, 2)),
        (written.visible, given.visible, (1, 17)),
    ):
        assert one is not None
        assert other is not None
        assert one.shape == shape
        assert np.array_equal(one, other)


def test_the_ids_of_mmdetections_tracker_ride_along() -> None:
    """A tracked frame holds its detector's instances too, which have no ids."""
    tracker = ByteTracker(motion={"type": "mmdet.KalmanFilter"})
    ids = []
    for number in range(3):
        detected = InstanceData(
            bboxes=torch.from_numpy(BOXES + 2 * number)[[number % 2, 1 - number % 2]],
            scores=torch.ones(2),
            labels=torch.tensor([number % 2, 1 - number % 2]),
        )
        frame = DetDataSample(metainfo={"frame_id": number}, pred_instances=detected)
        frame.pred_track_instances = tracker.track(frame)
        prompts = to_prompts(TrackDataSample(video_data_samples=[frame]), 600, 400, names=["left", "right"])
        ids.append(dict(zip(prompts.labels, prompts.ids)))
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0].values())) == 2
    with pytest.raises(InputError, match=r"one frame; got 2 frames; pass sample\[i\]"):
        to_prompts(TrackDataSample(video_data_samples=[frame, frame]), 600, 400)
