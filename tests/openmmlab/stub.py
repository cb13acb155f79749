"""A detector that knows the answer: what is left to measure is the masks."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

__all__ = ["GroundTruthDetector", "stub_config"]


@MODELS.register_module(force=True)
class GroundTruthDetector(BaseDetector):  # type: ignore[misc]  # mmdet has no annotations
    """Predicts the annotated boxes, which it is shown in the coordinates of its resized input, as a detector works.

    Args:
        sure: gives every box the score 1, so that masks are ranked by their own; else boxes get lower and lower ones.
        with_masks: predicts filled boxes as masks too, as an instance segmenter would.
        blind: predicts nothing on the images of these ids.
    """

    def __init__(
        self, sure: bool = False, with_masks: bool = False, blind: tuple[int, ...] = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sure, self.with_masks, self.blind = sure, with_masks, blind
        self.weight = torch.nn.Parameter(torch.zeros(1))  # wrappers and optimisers want one

    def predict(self, batch_inputs: torch.Tensor, batch_data_samples: list[Any], rescale: bool = True) -> list[Any]:
        for sample in batch_data_samples:
            truth = sample.gt_instances
            boxes = getattr(truth.bboxes, "tensor", truth.bboxes)
            boxes, labels = boxes / boxes.new_tensor(sample.scale_factor).repeat(2), truth.labels
            if sample.img_id in self.blind:
                boxes, labels = boxes[:0], labels[:0]
            scores = torch.ones(len(boxes)) if self.sure else torch.linspace(0.95, 0.3, len(boxes))
            predicted = InstanceData(bboxes=boxes, labels=labels, scores=scores)
            if self.with_masks:
                predicted.masks = torch.zeros((len(boxes), *sample.ori_shape), dtype=torch.bool)
                for mask, (x1, y1, x2, y2) in zip(predicted.masks, boxes.round().int().tolist()):
                    mask[y1:y2, x1:x2] = True
            sample.pred_instances = predicted
        return batch_data_samples

    def loss(self, batch_inputs: torch.Tensor, batch_data_samples: list[Any]) -> dict[str, torch.Tensor]:
        return {"loss": self.weight.sum()}

    def extract_feat(self, batch_inputs: torch.Tensor) -> torch.Tensor:
        return batch_inputs

    def _forward(self, batch_inputs: torch.Tensor, batch_data_samples: Any = None) -> torch.Tensor:
        return batch_inputs


def stub_config(**settings: Any) -> dict[str, Any]:
    """`model` of a config; the preprocessor normalises and pads as RTMDet's does."""
    return {
        "type": "GroundTruthDetector",
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            "mean": [103.53, 116.28, 123.675],
            "std": [57.375, 57.12, 58.395],
            "bgr_to_rgb": False,
            "pad_size_divisor": 32,
        },
        "_delete_": True,
        **settings,
    }
