"""MMRotate's own box structure."""

from __future__ import annotations

from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

import samovar
from samovar import Image, Masks
from samovar_adapters.mmdet import Masker
from samovar_adapters.mmdet.options import MaskOptions
from samovar_adapters.rotated import Convention, rotated_boxes

_version, mmdet.__version__ = mmdet.__version__, "3.1.0"  # it refuses later ones, too
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
