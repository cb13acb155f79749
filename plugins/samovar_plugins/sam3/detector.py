"""SAM 3's detector: every instance of what words and example boxes describe.

The networks are transformers' own, but for one that calls torchvision for a single function: `roi_align` (Mask R-CNN,
2017) is two matrix products here, since bilinear samples average separately along rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.models.sam3.modeling_sam3 import Sam3GeometryEncoder, Sam3Model, Sam3VisionEncoderOutput

from samovar.errors import PromptError, WeightsError

__all__ = ["Detector", "Found", "Words", "load_model", "roi_align"]

KEPT = 0.3
"""Instances below this score are not reported, as published."""

TOKENS = 32
"""Of a text, at most, with the marks of its beginning and end."""

ANYTHING = "visual"
"""The text that stands for "like these examples"."""


class _Geometry(Sam3GeometryEncoder):  # type: ignore[misc]
    """transformers' encoder of example boxes, without torchvision."""

    def _encode_boxes(
        self, boxes: Tensor, boxes_mask: Tensor, boxes_labels: Tensor, vision_features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Box tokens 1×N×C and their mask, from 1×N×4 boxes as centre and size in [0, 1]."""
        height, width = vision_features.shape[-2:]
        centre, extent = boxes[..., :2], boxes[..., 2:]
        corners = torch.cat([centre - extent / 2, centre + extent / 2], -1)[0]
        scale = torch.tensor([width, height, width, height], dtype=boxes.dtype, device=boxes.device)
        pooled = self.boxes_pool_project(roi_align(vision_features[0], corners * scale, self.roi_size))
        place = self._encode_box_coordinates(*(part.flatten() for part in boxes.unbind(-1)))
        tokens = self.boxes_direct_project(boxes) + pooled.flatten(1)[None] + self.boxes_pos_enc_project(place)[None]
        return self.label_embed(boxes_labels.long()) + tokens, boxes_mask


class _Model(Sam3Model):  # type: ignore[misc]
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.geometry_encoder = _Geometry(self.config.geometry_encoder_config)


def load_model(folder: Path, device: str, dtype: torch.dtype) -> Any:
    """The detector of the checkpoint in `folder`, its configuration the published one's unless it has its own."""
    from transformers import Sam3Config
    from transformers.utils import logging

    config = {} if (folder / "config.json").is_file() else {"config": Sam3Config()}
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = _Model.from_pretrained(str(folder), local_files_only=True, dtype=dtype, **config)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{folder} cannot be loaded: {reason:.150}; download it again") from error
    finally:
        if shown:
            logging.enable_progress_bar()
    return model.eval().to(device)


class Words:
    """The tokenizer beside the weights, read when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "tokenizer.json"
        self._tokenizer: Any = None

    def __call__(self, text: str) -> list[int]:
        """Tokens of a text. Raises PromptError for one that is too long, WeightsError without a tokenizer."""
        if self._tokenizer is None:
            if not self._path.is_file():
                raise WeightsError(
                    f"expected {self._path} for text prompts; it is missing; get it from the same repository"
                )
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(self._path))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            self._tokenizer = tokenizer
        tokens: list[int] = self._tokenizer.encode(text).ids
        if len(tokens) > TOKENS:
            raise PromptError(
                f"text must be at most {TOKENS - 2} tokens; got {len(tokens) - 2} ({text!r:.40}); use a noun phrase"
            )
        return tokens


@dataclass(frozen=True)
class Found:
    """Instances, best first.

    Attributes:
        scores: N float32 in [0, 1].
        logits: N×h×w float32.
    """

    scores: Tensor
    logits: Tensor


class Detector:
    """Answers concept prompts.

    Args:
        model: what `load_model` gives.
        words: text → tokens.
    """

    def __init__(self, model: Any, words: Callable[[str], list[int]]) -> None:
        self._model = model
        self._words = words

    def trunk(self, images: Tensor) -> Tensor:
        """B×3×S×S pixels → B×D×h×w features."""
        hidden: Tensor = self._model.vision_encoder.backbone(images).last_hidden_state
        side = int(hidden.shape[1] ** 0.5)
        return hidden.transpose(1, 2).unflatten(2, (side, side))

    def features(self, trunk: Tensor) -> Any:
        """What all concepts of an image have in common, from its D×h×w features."""
        maps, positions = self._model.vision_encoder.neck(trunk[None])
        return Sam3VisionEncoderOutput(fpn_hidden_states=maps, fpn_position_encoding=positions)

    def find(self, features: Any, text: str | None, boxes: Tensor | None) -> Found:
        """Every instance of a concept.

        Args:
            features: of the image.
            text: a noun phrase; None for "like these examples".
            boxes: N×4 float32, examples as centre and size in [0, 1], or None.
        """
        device = features.fpn_hidden_states[0].device
        tokens = torch.tensor([self._words(text or ANYTHING)], device=device)
        given = {} if boxes is None else {"input_boxes": boxes[None].to(device, features.fpn_hidden_states[0].dtype)}
        out = self._model(vision_embeds=features, input_ids=tokens, **given)
        scores = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0].float()
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] > KEPT]
        return Found(scores[order], out.pred_masks[0, order].float())


def roi_align(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Means of bilinear samples in the size×size cells of each box.

    Args:
        features: C×h×w.
        boxes: N×4, x1 y1 x2 y2 in positions of the map, whose corners lie at the centres of positions.
        size: cells along either side.

    Returns:
        N×C×size×size.
    """
    height, width = features.shape[-2:]
    exact = features.float()
    found = []
    for x1, y1, x2, y2 in boxes.tolist():
        rows = _weights(y1, max(y2 - y1, 1.0), size, height).to(features.device)
        columns = _weights(x1, max(x2 - x1, 1.0), size, width).to(features.device)
        found.append(rows @ exact @ columns.t())
    return torch.stack(found).to(features.dtype)


def _weights(start: float, length: float, cells: int, count: int) -> Tensor:
    """cells×count: how much each of `count` positions adds to each cell of an interval."""
    cell = length / cells
    samples = math.ceil(cell)
    steps = (torch.arange(cells * samples, dtype=torch.float64) + 0.5) * (cell / samples)
    at = steps + start
    inside = (at >= -1) & (at <= count)
    at = at.clamp(0, count - 1)
    low = at.floor().clamp(max=count - 1).long()
    high = (low + 1).clamp(max=count - 1)
    part = at - low
    weights = torch.zeros(len(at), count, dtype=torch.float64)
    rows = torch.arange(len(at))
    weights.index_put_((rows, low), (1 - part) * inside, accumulate=True)
    weights.index_put_((rows, high), part * inside, accumulate=True)
    return weights.unflatten(0, (cells, samples)).mean(1).float()
