"""A floor under the quality on real photos that the segmenter was not fitted on: falls when a change makes it worse.

The figures that are reported come from `python -m benchmarks.default_quality`; these are a small sample of them, with
room for nothing but noise.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.protocol import Click, deepest, iou, next_click
from samovar import Prompt
from samovar.embedding import Embedding
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.default.segmenter import DefaultSegmenter
from tests.plugins.default.photos import Known

BOX_FLOOR = 0.76
ONE_POINT_FLOOR = 0.56
ORACLE_FLOOR = 0.64
THREE_POINTS_FLOOR = 0.71


@pytest.mark.slow
def test_boxes_find_objects(segmenter: DefaultSegmenter, known: list[Known]) -> None:
    found: list[float] = []
    for one in known:
        masks = segmenter.decode([one.embedding], [Prompts.from_boxes(one.boxes)], DecodeOptions())[0].to_array()
        found += [iou(mask, truth) for mask, truth in zip(masks, one.truths)]
    assert np.mean(found) > BOX_FLOOR


@pytest.mark.slow
def test_one_click_finds_objects_and_one_of_three_answers_is_better(
    segmenter: DefaultSegmenter, known: list[Known]
) -> None:
    first: list[float] = []
    oracle: list[float] = []
    for one in known:
        points = np.array([deepest(truth)[:2] for truth in one.truths], np.float32)
        options = DecodeOptions(multimask=True)
        masks = segmenter.decode([one.embedding], [Prompts.from_points(points)], options)[0]
        found = masks.to_array()
        for number, truth in enumerate(one.truths):
            ious = [iou(mask, truth) for mask in found[masks.prompt_index == number]]
            first.append(ious[0])
            oracle.append(max(ious))
    assert np.mean(first) > ONE_POINT_FLOOR
    assert np.mean(oracle) > ORACLE_FLOOR


def clicked(
    segmenter: DefaultSegmenter, embedding: Embedding, truth: NDArray[np.bool_], rounds: int, feed: bool
) -> list[float]:
    """IoU after each of several corrections, with the last answer's logits handed back if `feed`."""
    clicks: list[Click] = [(*deepest(truth)[:2], 1)]
    logits: NDArray[np.float32] | None = None
    out = []
    for _ in range(rounds):
        points, labels = [click[:2] for click in clicks], [click[2] for click in clicks]
        prompt = Prompt(points=points, point_labels=labels, mask=logits)
        masks = segmenter.decode([embedding], [Prompts.of(prompt)], DecodeOptions(logits=True))[0]
        found = masks.to_array()[0]
        out.append(iou(found, truth))
        logits = masks.logits[0] if feed and masks.logits is not None else None
        click = next_click(truth, found)
        if click is not None:
            clicks.append(click)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("feed", [False, True], ids=["clicks alone", "with the last answer handed back"])
def test_corrections_improve_the_answer(segmenter: DefaultSegmenter, known: list[Known], feed: bool) -> None:
    """Each further click helps on average, and three clicks are good."""
    ious = np.array([clicked(segmenter, one.embedding, truth, 3, feed) for one in known for truth in one.truths])
    first, second, third = ious.mean(axis=0)
    assert first < second < third
    assert third > THREE_POINTS_FLOOR


@pytest.mark.slow
def test_predicted_ious_tell_good_answers_from_bad_ones(segmenter: DefaultSegmenter, known: list[Known]) -> None:
    """Scores rise and fall with the true IoU, and are right on average."""
    predicted: list[float] = []
    true: list[float] = []
    for one in known:
        points = np.array([deepest(truth)[:2] for truth in one.truths], np.float32)
        for prompts in (Prompts.from_boxes(one.boxes), Prompts.from_points(points)):
            masks = segmenter.decode([one.embedding], [prompts], DecodeOptions())[0]
            predicted += [float(score) for score in masks.scores]
            true += [iou(mask, truth) for mask, truth in zip(masks.to_array(), one.truths)]
    assert np.corrcoef(predicted, true)[0, 1] > 0.4
    assert abs(np.mean(predicted) - np.mean(true)) < 0.08
