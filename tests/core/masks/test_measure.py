"""Areas, boxes, IoU, union and intersection, against pycocotools and against plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from samovar.errors import MaskError
from samovar.masks import Masks
from tests.core.masks.shapes import Stack, coco_rles, stacks


@pytest.mark.slow
@given(stacks(min_count=1))
def test_areas_and_boxes_are_those_of_pycocotools(stack: Stack) -> None:
    masks, rles = Masks.from_array(stack), coco_rles(stack)
    assert masks.areas.tolist() == coco.area(rles).tolist()
    x, y, w, h = coco.toBbox(rles).T
    assert np.array_equal(masks.boxes, np.stack([x, y, x + w, y + h], axis=1))
    assert masks.boxes.dtype == np.float32
    assert masks.areas.dtype == np.int64


@pytest.mark.slow
@given(stacks())
def test_boxes_are_tight(stack: Stack) -> None:
    for mask, box in zip(stack, Masks.from_array(stack).boxes):
        rows, columns = np.nonzero(mask)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]
        assert box.tolist() == expected


@pytest.mark.slow
@given(stacks(max_count=4, max_side=40), st.integers(0, 2**32 - 1))
def test_iou_is_bit_for_bit_that_of_pycocotools_with_and_without_crowds(stack: Stack, seed: int) -> None:
    masks, rles = Masks.from_array(stack), coco_rles(stack)
    cut = len(stack) // 2
    crowd = np.random.default_rng(seed).random(len(stack) - cut) < 0.5
    expected = np.zeros((cut, len(stack) - cut))
    if cut:
        expected = coco.iou(rles[:cut], rles[cut:], [0] * len(crowd))
    assert np.array_equal(masks[:cut].iou(masks[cut:]), expected)
    if cut:
        expected = coco.iou(rles[:cut], rles[cut:], crowd.tolist())
    assert np.array_equal(masks[:cut].iou(masks[cut:], crowd=crowd), expected)


@pytest.mark.slow
@given(stacks(max_count=4, max_side=40))
def test_box_iou_is_the_overlap_of_the_filled_boxes(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    filled = np.zeros_like(stack)
    for mask, (x1, y1, x2, y2) in zip(filled, masks.boxes.astype(int)):
        mask[y1:y2, x1:x2] = True
    assert np.allclose(masks.box_iou(masks), Masks.from_array(filled).iou(Masks.from_array(filled)), rtol=0, atol=1e-12)


def test_iou_with_masks_of_another_image_size_is_refused() -> None:
    one, other = Masks.empty(4, 5), Masks.empty(5, 4)
    for compare in (one.iou, one.box_iou):
        with pytest.raises(MaskError, match="4×5 and 5×4 images do not compare"):
            compare(other)
    with pytest.raises(MaskError, match="crowd must be one bool per mask of other"):
        one.iou(one, crowd=[True])


@given(stacks(max_count=4))
def test_union_and_intersection_are_those_of_the_arrays(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    assert np.array_equal(masks.union().to_array()[0], stack.any(axis=0))
    both = stack.all(axis=0) if len(stack) else np.zeros(stack.shape[1:], np.bool_)
    assert np.array_equal(masks.intersection().to_array()[0], both)


@given(stacks(min_count=1, max_count=4))
def test_union_and_intersection_write_the_text_of_pycocotools(stack: Stack) -> None:
    masks, rles = Masks.from_array(stack), coco_rles(stack)
    assert masks.union().to_coco_rle()[0]["counts"].encode() == coco.merge(rles)["counts"]
    assert masks.intersection().to_coco_rle()[0]["counts"].encode() == coco.merge(rles, intersect=True)["counts"]


def test_a_union_keeps_what_its_masks_agree_on() -> None:
    masks = Masks.from_array(np.ones((2, 3, 3), np.bool_))
    masks = masks.replace(scores=[0.5, 1.0], labels=["cup", "cup"], ids=[1, 2], prompt_index=[4, 4])
    union = masks.union()
    assert (union.scores.tolist(), union.labels, union.ids, union.prompt_index.tolist()) == (
        [0.75],
        ("cup",),
        (None,),
        [4],
    )
    assert masks.replace(prompt_index=[4, 5]).intersection().prompt_index.tolist() == [-1]
