"""MMRotate's own box structure."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import cv2
import mmdet
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from numpy.typing import NDArray

import samovar
from samovar import Image, Masks
from samovar_adapters.mmdet import Masker, MaskOptions
from samovar_adapters.rotated import Convention, corners, rotated_boxes, turned

_version, mmdet.__version__ = mmdet.__version__, "3.1.0"  # it refuses later ones, too
from mmrotate.evaluation import DOTAMetric  # noqa: E402
from mmrotate.evaluation.functional import mean_ap  # noqa: E402
from mmrotate.structures.bbox import RotatedBoxes  # noqa: E402

mmdet.__version__ = _version


@pytest.mark.parametrize("convention", ["le90", "le135", "oc"])
def test_boxes_are_named_as_mmrotate_regularises_them(convention: Convention) -> None:
    array = np.zeros((18, 120, 120), np.uint8)
    for mask, degrees in zip(array, range(0, 180, 10)):
        cv2.fillPoly(mask, [cv2.boxPoints(((60, 60), (80, 20), degrees)).round().astype(np.int32)], 1)
    boxes = rotated_boxes(Masks.from_array(array), convention)
    turns = torch.arange(18)[:, None] % 4  # the same rectangles under other names
    named = torch.from_numpy(boxes).clone()
    named[:, 4:] += turns * torch.pi / 2
    named[:, 2:4] = torch.where(turns % 2 == 1, named[:, [3, 2]], named[:, 2:4])
    regular = RotatedBoxes(named).regularize_boxes(pattern=convention).numpy()
    assert np.allclose(regular[:, :4], boxes[:, :4], atol=1e-3)
    period = np.abs(regular[:, 4] - boxes[:, 4]) % np.pi
    assert np.minimum(period, np.pi - period).max() < 1e-3, "a half turn gives the same rectangle"


def test_rotated_predictions_get_masks_and_are_set_to_them(photo: Path) -> None:
    image = Image(photo)
    sample = DetDataSample(metainfo={"ori_shape": (image.height, image.width)})
    boxes = RotatedBoxes(torch.tensor([[280.0, 230.0, 400.0, 320.0, 0.05]]))
    sample.pred_instances = InstanceData(bboxes=boxes, scores=torch.ones(1), labels=torch.zeros(1, dtype=torch.int64))
    Masker(samovar.load("default", cache="off"), MaskOptions(tighten_boxes=True)).fill([sample], [image])
    predicted = sample.pred_instances
    assert isinstance(predicted.bboxes, RotatedBoxes)
    expected = rotated_boxes(Masks.from_array(predicted.masks.numpy()), "le90")
    assert np.allclose(predicted.bboxes.tensor.numpy(), expected, atol=1e-4)


def slanted() -> tuple[Image, NDArray[np.float32]]:
    """Bars of every slant on a mottled ground, as ships lie in a harbour; and their N×5 rotated boxes."""
    pixels = np.random.default_rng(0).normal(110, 8, (360, 480, 3)).clip(0, 255).astype(np.uint8)
    masks = np.zeros((12, 360, 480), np.uint8)
    for number, mask in enumerate(masks):
        centre = (60 + 120 * (number % 4), 60 + 120 * (number // 4))
        ring = cv2.boxPoints((centre, (80, 24), 15 * number)).round().astype(np.int32)
        cv2.fillPoly(mask, [ring], 1)
        cv2.fillPoly(pixels, [ring], (230, 225, 210))
    return Image(pixels), rotated_boxes(Masks.from_array(masks))


def test_a_detector_of_upright_boxes_is_evaluated_on_rotated_ones(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged by MMRotate's own metric; beside it, the boxes as the detector gave them."""
    # Its processes could not import it either.
    monkeypatch.setattr(mean_ap, "get_context", lambda method: SimpleNamespace(Pool=ThreadPool))
    image, truth = slanted()
    ring = corners(truth)
    upright = torch.from_numpy(np.concatenate([ring.min(axis=1), ring.max(axis=1)], axis=1))
    labels = torch.zeros(len(truth), dtype=torch.int64)
    sample = DetDataSample(metainfo={"ori_shape": (image.height, image.width)})
    sample.pred_instances = InstanceData(bboxes=upright, scores=torch.ones(len(truth)), labels=labels)
    Masker(samovar.load("default", cache="off"), MaskOptions(tighten_boxes="rotated")).fill([sample], [image])

    def judged(boxes: torch.Tensor) -> float:
        metric = DOTAMetric(iou_thrs=0.5)
        metric.dataset_meta = {"classes": ["ship"]}
        known = {"bboxes": torch.from_numpy(truth), "labels": labels}
        found = {"bboxes": boxes, "scores": torch.ones(len(truth)), "labels": labels}
        nothing = {"bboxes": torch.zeros(0, 5), "labels": labels[:0]}
        rows = {"gt_instances": known, "ignored_instances": nothing, "pred_instances": found}
        metric.process({}, [{"img_id": 0, **rows}])
        return float(metric.evaluate(1)["dota/mAP"])

    rotated, plain = judged(sample.pred_instances.bboxes), judged(torch.from_numpy(turned(upright.numpy())))
    with capsys.disabled():
        print(f"\n{len(truth)} slanted bars, DOTA mAP: set to their masks {rotated:.3f}, upright as given {plain:.3f}")
    assert rotated > 0.8
    assert rotated > plain + 0.3
