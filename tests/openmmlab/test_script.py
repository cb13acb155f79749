"""`with_masks`: the calls that scripts make, on a real RTMDet of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector

from samovar import Masks
from samovar.errors import InputError
from samovar_adapters.mmdet import with_masks
from tests.openmmlab.dataset import CocoSet
from tests.openmmlab.detectors import loosen
from tests.openmmlab.runs import PAD, configured


@pytest.fixture(scope="module")
def config(coco: CocoSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    pipeline: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (320, 320), "keep_ratio": True},
        PAD,
        {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
    ]
    settings = configured(coco, folder, pipeline=pipeline)
    settings.dump(str(folder / "rtmdet.py"))
    return folder / "rtmdet.py"


@pytest.fixture
def picture(coco: CocoSet) -> str:
    return str(coco.images / coco.files[0])


def test_an_inferencer_is_called_as_before_and_draws_the_masks(config: Path, picture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    inferencer = DetInferencer(str(config), device="cpu", show_progress=False)
    loosen(inferencer.model)

    def drawn(folder: str) -> Any:
        inferencer(picture, out_dir=str(tmp_path / folder), pred_score_thr=0)
        return np.asarray(cv2.imread(str(tmp_path / folder / "vis" / Path(picture).name)), int)

    (plain,) = inferencer(picture)["predictions"]
    plainly = drawn("plain")
    assert with_masks(inferencer, max_per_image=5) is inferencer
    (masked,) = inferencer(picture)["predictions"]
    assert masked["bboxes"] == plain["bboxes"]
    assert masked["scores"] == plain["scores"]
    found = Masks.from_coco_rle(masked["masks"])
    assert len(found) == len(plain["bboxes"])
    assert 1 <= (found.areas > 0).sum() <= 5
    inside = found.union().to_array()[0]
    changed = np.abs(drawn("masked") - plainly).max(axis=2) > 8
    assert changed[inside].mean() > 0.5, "MMDetection's own visualiser shows them"
    with_masks(inferencer, None)
    assert inferencer(picture)["predictions"] == [plain]


def test_a_detector_is_called_as_before(config: Path, picture: str) -> None:
    torch.manual_seed(0)
    detector = with_masks(init_detector(str(config), device="cpu"), "default", max_per_image=5)
    loosen(detector)
    sample = inference_detector(detector, picture)
    assert sample.pred_instances.masks.shape == (len(sample.pred_instances.bboxes), *sample.ori_shape)
    again = inference_detector(with_masks(detector, "default", max_per_image=5), picture)
    assert torch.equal(again.pred_instances.masks, sample.pred_instances.masks), "asked twice, done once"

    shown = inference_detector(detector, cv2.imread(picture)).pred_instances
    assert torch.equal(shown.bboxes, sample.pred_instances.bboxes)
    one, other = (Masks.from_array(found.masks.numpy()) for found in (sample.pred_instances, shown))
    full = one.areas > 400
    assert np.diag(one.iou(other))[full].mean() > 0.6, "an array's masks are those of its file, but for the scaling"


def test_anything_else_is_refused() -> None:
    with pytest.raises(InputError, match="takes a DetInferencer or a detector; got str"):
        with_masks("rtmdet")
