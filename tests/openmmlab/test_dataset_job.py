"""A detection data set gets masks by one command, and MMDetection's evaluator reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmdet.evaluation import CocoMetric

from tests.commands import status_of
from tests.openmmlab.conftest import Watch
from tests.openmmlab.dataset import CLASSES, CocoSet


def test_boxes_of_a_data_set_become_masks(
    coco: CocoSet, tmp_path: Path, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "masks.json"
    command = ["run", str(coco.images), "--source", f"coco-boxes={coco.annotations}", "--sink", f"coco={out}"]
    assert status_of(*command) == 0
    first = out.read_bytes()
    watch.events.clear()
    assert status_of(*command) == 0
    assert watch.events == [], "what is written is skipped"
    assert out.read_bytes() == first

    truth = {image["file_name"]: image for image in json.loads(coco.annotations.read_text())["images"]}
    written = json.loads(first)
    names = {category["id"]: category["name"] for category in written["categories"]}
    metric = CocoMetric(ann_file=str(coco.annotations), metric="segm")
    metric.dataset_meta = {"classes": CLASSES}
    for image in written["images"]:
        rows = [row for row in written["annotations"] if row["image_id"] == image["id"]]
        x1y1wh = torch.tensor([row["bbox"] for row in rows], dtype=torch.float32)
        predicted = {
            "bboxes": torch.cat([x1y1wh[:, :2], x1y1wh[:, :2] + x1y1wh[:, 2:]], dim=1),
            "scores": torch.tensor([row["score"] for row in rows]),
            "labels": torch.tensor([CLASSES.index(names[row["category_id"]]) for row in rows]),
            "masks": [row["segmentation"] for row in rows],
        }
        known = truth[image["file_name"]]
        sample = {"img_id": known["id"], "ori_shape": (known["height"], known["width"]), "pred_instances": predicted}
        metric.process({}, [sample])
    metrics = metric.evaluate(len(written["images"]))
    with capsys.disabled():
        print(f"\n{coco.boxes} annotated boxes → masks: segm_mAP {metrics['coco/segm_mAP']:.3f}")
    assert len(written["annotations"]) == coco.boxes
    assert metrics["coco/segm_mAP"] > 0.3
