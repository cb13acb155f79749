"""SAM 3's answers are those of transformers' own model on the same weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import Sam3TrackerConfig, Sam3TrackerModel

from samovar import Image
from samovar.embedding import Embedding
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.sam3.segmenter import Sam3Segmenter
from tests.plugins.sam3.tiny import TRACKER, VISION, loaded, reference, save

pytestmark = pytest.mark.slow

BOX = (60.0, 80.0, 420.0, 360.0)


@pytest.fixture(scope="module")
def published() -> Any:
    return reference()


@pytest.fixture(scope="module")
def segmenter(published: Any, tmp_path_factory: pytest.TempPathFactory) -> Sam3Segmenter:
    folder = save(published, tmp_path_factory.mktemp("sam3"))
    return loaded(folder)


@pytest.fixture(scope="module")
def tracker(published: Any) -> Any:
    """The image tracker on three levels, so that "no memory" goes where Meta's model and transformers' own video model
    have it: with four, transformers 5.23 adds it to a level that nothing reads.
    """
    config = {name: TRACKER[name] for name in ("prompt_encoder_config", "mask_decoder_config")}
    vision = {**VISION, "scale_factors": [4.0, 2.0, 1.0]}
    model = Sam3TrackerModel(Sam3TrackerConfig(vision_config=vision, **config)).eval()
    renamed = {
        name.replace("tracker_model.", "")
        .replace("tracker_neck.", "vision_encoder.neck.")
        .replace("detector_model.vision_encoder.backbone.", "vision_encoder.backbone."): tensor
        for name, tensor in published.state_dict().items()
    }
    missing, _ = model.load_state_dict(renamed, strict=False)
    assert not missing
    return model


@pytest.fixture(scope="module")
def picture(photo: Path) -> Image:
    return Image(photo)


@pytest.fixture(scope="module")
def embedding(segmenter: Sam3Segmenter, picture: Image) -> Embedding:
    return segmenter.encode([picture])[0]


def pixels(picture: Image) -> torch.Tensor:
    """As transformers' processor prepares them, by its documented parameters."""
    whole = torch.from_numpy(np.array(picture.pixels)).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(whole, (112, 112), mode="bilinear", antialias=True)
    return (small.float() / 255 - 0.5) / 0.5


def answer(segmenter: Sam3Segmenter, embedding: Embedding, prompt: Prompt, *, multimask_output: bool) -> Any:
    options = DecodeOptions(multimask=multimask_output, logits=True)
    return segmenter.decode([embedding], [Prompts.of([prompt])], options)[0]


def close(ours: NDArray[np.float32] | None, theirs: torch.Tensor) -> None:
    assert ours is not None
    assert ours.shape == tuple(theirs.shape)
    assert np.abs(ours - theirs.numpy()).max() <= 1e-4


def close_in_any_order(ours: NDArray[np.float32] | None, theirs: torch.Tensor, rounding: torch.Tensor) -> None:
    """Instances whose scores differ in the last bit only may come in another order.

    Args:
        rounding: of each of `theirs`, what its last bits are worth: a few instances of a network with random weights
            multiply them by thousands.
    """
    assert ours is not None
    assert ours.shape == tuple(theirs.shape)
    apart = np.abs(ours[:, None] - theirs.numpy()[None]).max(axis=(2, 3))
    same = apart.argmin(axis=1)
    assert sorted(same) == list(range(len(ours)))
    allowed = 1e-4 * max(1.0, float(theirs.abs().max())) + rounding.numpy()[same]
    assert (apart.min(axis=1) <= allowed).all()


@pytest.mark.parametrize("multimask_output", [True, False])
def test_a_box_is_answered_as_the_tracker_answers_it(
    segmenter: Sam3Segmenter, tracker: Any, picture: Image, embedding: Embedding, multimask_output: bool
) -> None:
    scale = np.array([112 / picture.width, 112 / picture.height] * 2)
    boxes = torch.tensor(np.array(BOX) * scale, dtype=torch.float32)[None, None]
    with torch.inference_mode():
        out = tracker(pixel_values=pixels(picture), input_boxes=boxes, multimask_output=multimask_output)
    masks = answer(segmenter, embedding, Prompt(box=BOX), multimask_output=multimask_output)
    order = out.iou_scores[0, 0].argsort(descending=True)
    close(masks.scores, out.iou_scores[0, 0][order])
    close(masks.logits, out.pred_masks[0, 0][order].clamp(-32, 32))


def test_clicks_are_answered_as_the_tracker_answers_them(
    segmenter: Sam3Segmenter, tracker: Any, picture: Image, embedding: Embedding
) -> None:
    points = np.array([[300.0, 200.0], [30.0, 40.0]])
    placed = torch.tensor(points * [112 / picture.width, 112 / picture.height], dtype=torch.float32)[None, None]
    with torch.inference_mode():
        labels = torch.tensor([[[1, 0]]])
        out = tracker(pixel_values=pixels(picture), input_points=placed, input_labels=labels, multimask_output=True)
    masks = answer(segmenter, embedding, Prompt(points=points, point_labels=[1, 0]), multimask_output=True)
    order = out.iou_scores[0, 0].argsort(descending=True)
    close(masks.scores, out.iou_scores[0, 0][order])
    close(masks.logits, out.pred_masks[0, 0][order].clamp(-32, 32))


def described(published: Any, picture: Image, tokens: list[int], boxes: torch.Tensor | None = None) -> Any:
    """transformers' detector, its text padded to 32 tokens as its processor does."""
    return detect(published.detector_model, pixels(picture), tokens, boxes)


def detect(model: Any, frames: torch.Tensor, tokens: list[int], boxes: torch.Tensor | None) -> Any:
    padded = torch.tensor([tokens + [1] * (32 - len(tokens))])
    mask = torch.tensor([[1] * len(tokens) + [0] * (32 - len(tokens))])
    examples = {}
    if boxes is not None:
        examples = {"input_boxes": boxes.to(frames), "input_boxes_labels": torch.ones(1, 1, dtype=torch.long)}
    with torch.inference_mode():
        return model(pixel_values=frames, input_ids=padded, attention_mask=mask, **examples)


def rounding(
    published: Any, picture: Image, tokens: list[int], order: torch.Tensor, boxes: torch.Tensor | None = None
) -> torch.Tensor:
    """How far float32 may take the logits of each instance in `order`.

    Measured in float64: how far they move with the pixels' last bits of float32, times 30 for a network's worth of
    additions (the published model itself is up to 12 of these from its float64 answer).
    """
    exact = copy.deepcopy(published.detector_model).double()
    frames = pixels(picture).double()
    at = detect(exact, frames, tokens, boxes).pred_masks[0, order]
    noise = torch.Generator().manual_seed(0)
    moved = []
    for _ in range(4):
        nudged = frames * (1 + 1e-7 * torch.randn(frames.shape, generator=noise, dtype=frames.dtype))
        moved.append((detect(exact, nudged, tokens, boxes).pred_masks[0, order] - at).abs().amax((1, 2)))
    return 30 * torch.stack(moved).amax(0)


def instances(out: Any, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, logits and enlarged masks of the published post-processing, best first; and which queries they are."""
    scores = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0]
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > 0.3]
    logits = out.pred_masks[0, order]
    whole = torch.nn.functional.interpolate(logits.sigmoid()[None], size, mode="bilinear", align_corners=False)[0]
    return scores[order], logits, whole > 0.5, order


def test_text_is_answered_with_every_instance_that_the_detector_finds(
    segmenter: Sam3Segmenter, published: Any, picture: Image, embedding: Embedding
) -> None:
    out = described(published, picture, [0, 4, 5, 1])
    scores, logits, whole, order = instances(out, (picture.height, picture.width))
    assert len(scores) > 1, "this test needs instances"
    masks = answer(segmenter, embedding, Prompt(text="bright thing"), multimask_output=False)
    close(masks.scores, scores)
    close_in_any_order(masks.logits, logits, rounding(published, picture, [0, 4, 5, 1], order))
    assert (masks.to_array() != whole.numpy()).sum() < 5 * len(masks)


def test_a_box_beside_a_text_is_an_example(
    segmenter: Sam3Segmenter,
    published: Any,
    picture: Image,
    embedding: Embedding,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from samovar_plugins.sam3.detector import roi_align

    class Torchvision:
        """The one function of torchvision that transformers calls."""

        class ops:  # noqa: N801
            @staticmethod
            def roi_align(features: torch.Tensor, boxes: tuple[torch.Tensor, ...], size: int) -> torch.Tensor:
                return roi_align(features[0], boxes[0], size)

    monkeypatch.setattr("transformers.models.sam3.modeling_sam3.torchvision", Torchvision, raising=False)
    x1, y1, x2, y2 = np.array(BOX) / ([picture.width, picture.height] * 2)
    boxes = torch.tensor([[[(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]]], dtype=torch.float32)
    out = described(published, picture, [0, 4, 5, 1], boxes)
    scores, logits, _, order = instances(out, (picture.height, picture.width))
    masks = answer(segmenter, embedding, Prompt(text="bright thing", box=BOX), multimask_output=False)
    close(masks.scores, scores)
    close_in_any_order(masks.logits, logits, rounding(published, picture, [0, 4, 5, 1], order, boxes))
    plain = answer(segmenter, embedding, Prompt(text="bright thing"), multimask_output=False)
    assert len(plain) != len(masks) or np.abs(plain.scores - masks.scores).max() > 1e-3
