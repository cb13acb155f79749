"""Automatic masks over any segmenter: what SAM's parameters keep and drop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar import DecodeOptions, Image, Masks, Prompts
from samovar.automatic import AutomaticOptions, crops, point_grid
from samovar.errors import InputError
from samovar.runtime import Runtime
from tests.fakes import FilledBoxes

WHITE = Image(np.full((120, 200, 3), 255, np.uint8))
EASY = {"points_per_side": 4, "pred_iou_thresh": 0.5}


class Scripted(FilledBoxes):
    """Answers every point with the same masks: (x1, y1, x2, y2, predicted IoU, stability) each."""

    def __init__(self, *script: tuple[int, int, int, int, float, float]) -> None:
        super().__init__()
        self.script = script

    def _answer(self, embedding, prompts, options: DecodeOptions) -> Masks:  # type: ignore[no-untyped-def]
        rows = [row for _ in prompts for row in self.script]
        masks = Masks.from_crops(
            [np.ones((y2 - y1, x2 - x1), bool) for x1, y1, x2, y2, _, _ in rows],
            [row[:2] for row in rows],
            embedding.width,
            embedding.height,
        )
        return masks.replace(
            scores=np.array([row[4] for row in rows], np.float32),
            stability=np.array([row[5] for row in rows], np.float32),
            prompt_index=np.repeat(np.arange(len(prompts)), len(self.script)),
        )


def found(segmenter: FilledBoxes, image: Image = WHITE, **parameters: Any) -> Masks:
    return Runtime(segmenter).segment_all(image, **{**EASY, **parameters})


def test_repeated_answers_are_kept_once_by_box_nms() -> None:
    assert found(Scripted((30, 30, 90, 80, 0.9, 1))).boxes.tolist() == [[30, 30, 90, 80]]


def test_the_better_scored_of_two_overlapping_masks_stays() -> None:
    masks = found(Scripted((30, 30, 90, 80, 0.8, 1), (31, 30, 91, 80, 0.9, 1)))
    assert masks.boxes.tolist() == [[31, 30, 91, 80]]
    assert masks.scores.tolist() == pytest.approx([0.9])


def test_masks_below_the_predicted_iou_or_the_stability_are_dropped() -> None:
    script = Scripted((30, 30, 50, 50, 0.4, 1), (60, 30, 80, 50, 0.9, 0.9), (100, 30, 120, 50, 0.9, 0.96))
    assert found(script, stability_score_thresh=0.95).boxes.tolist() == [[100, 30, 120, 50]]


def test_masks_come_best_scored_first() -> None:
    script = Scripted((30, 30, 50, 50, 0.7, 1), (60, 30, 80, 50, 0.9, 1), (100, 30, 120, 50, 0.8, 1))
    assert found(script).scores.tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_an_image_is_encoded_once_for_the_whole_grid_even_without_a_cache() -> None:
    segmenter = FilledBoxes()
    found(segmenter, points_per_side=20, points_per_batch=16)
    assert len(segmenter.encoded) == 1
    assert max(sum(call) for call in segmenter.decoded) == 16


def test_masks_from_a_crop_land_at_its_place_in_the_image() -> None:
    masks = found(FilledBoxes(), crop_n_layers=1, points_per_side=3, box_nms_thresh=1.0, crop_nms_thresh=1.0)
    assert (masks.width, masks.height) == (200, 120)
    assert masks.boxes[:, 2].max() > 150
    assert len(masks) > 9


def test_masks_cut_off_by_a_crop_are_dropped_but_not_those_at_the_images_own_edge() -> None:
    class WholeCrop(FilledBoxes):
        @staticmethod
        def _box(box, points, embedding):  # type: ignore[no-untyped-def]
            return 0, 0, embedding.width, embedding.height

    masks = found(WholeCrop(), crop_n_layers=1)  # the whole of each view, and by multimask its left half
    assert masks.boxes.tolist() == [[0, 0, 200, 120], [0, 0, 100, 120]]


def test_small_regions_are_cleaned_when_asked() -> None:
    class Speckled(FilledBoxes):
        def _answer(self, embedding, prompts: Prompts, options):  # type: ignore[no-untyped-def]
            dense = np.zeros((len(prompts), embedding.height, embedding.width), bool)
            dense[:, 30:90, 30:90] = True
            dense[:, 50:53, 50:53] = False
            dense[:, 5:7, 5:7] = True
            count = len(prompts)
            return Masks.from_array(dense).replace(
                scores=np.ones(count, np.float32), stability=np.ones(count, np.float32), prompt_index=np.arange(count)
            )

    assert found(Speckled(), min_mask_region_area=20).areas.tolist() == [3600]


def test_a_segmenter_may_bring_its_own_defaults_and_the_caller_overrides_them() -> None:
    segmenter = Scripted((30, 30, 50, 50, 0.6, 1))
    segmenter.automatic = AutomaticOptions(points_per_side=2, pred_iou_thresh=0.5)  # type: ignore[attr-defined]
    runtime = Runtime(segmenter)
    assert len(runtime.segment_all(WHITE)) == 1
    assert len(runtime.segment_all(WHITE, pred_iou_thresh=0.7)) == 0
    assert segmenter.decoded == [[4], [4]]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("points_per_side", 0, "points_per_side must be a whole number from 1 to 512; got 0"),
        ("pred_iou_thresh", 2, "pred_iou_thresh must be a number from 0 to 1; got 2"),
        ("box_nms_thresh", "high", "box_nms_thresh must be a number"),
        ("points_per_sid", 3, "unknown parameter 'points_per_sid'; did you mean points_per_side"),
    ],
)
def test_an_impossible_parameter_is_refused_in_one_line(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        found(FilledBoxes(), **{name: value})


def test_the_grid_runs_row_by_row_through_the_centres_of_equal_cells() -> None:
    assert point_grid(2, 80, 40).tolist() == [[20, 10], [60, 10], [20, 30], [60, 30]]


def test_layer_zero_is_the_whole_image() -> None:
    assert [tuple(crop) for crop in crops(640, 480, 0, 0.34)] == [(0, 0, 640, 480, 0)]


def test_the_first_layer_has_four_crops_that_overlap_by_the_ratio_of_the_shorter_side() -> None:
    # By hand: overlap int(512/1500 × 1000 × 2/2) = 341; crop (341 + 1500)/2 → 921 wide, (341 + 1000)/2 → 671 high.
    layer = [tuple(crop)[:4] for crop in crops(1500, 1000, 1, 512 / 1500)][1:]
    assert layer == [(0, 0, 921, 671), (0, 330, 921, 1000), (580, 0, 1500, 671), (580, 330, 1500, 1000)]


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 3), st.floats(0, 0.9))
def test_crops_lie_inside_the_image_and_cover_it(width: int, height: int, layers: int, ratio: float) -> None:
    covered = [np.zeros((height, width), bool) for _ in range(layers + 1)]
    for crop in crops(width, height, layers, ratio):
        assert 0 <= crop.x1 < crop.x2 <= width
        assert 0 <= crop.y1 < crop.y2 <= height
        covered[crop.layer][crop.y1 : crop.y2, crop.x1 : crop.x2] = True
    assert all(layer.all() for layer in covered)
