"""`Masks` as a value: made, sliced, joined, copied, never changed."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar.errors import MaskError
from samovar.masks import Masks
from tests.core.masks.shapes import Stack, blobs, stacks


def labelled(count: int = 5) -> Masks:
    rng = np.random.default_rng(0)
    return Masks.from_array(blobs(count, 40)).replace(
        scores=rng.random(count),
        labels=[f"label {index}" for index in range(count)],
        ids=list(range(10, 10 + count)),
        prompt_index=np.arange(count) // 2,
        logits=rng.normal(size=(count, 4, 4)),
        stability=rng.random(count),
    )


def assert_rows(masks: Masks, source: Masks, rows: list[int]) -> None:
    """`masks` are the `rows` of `source`, in all that is known of them."""
    assert len(masks) == len(rows)
    assert np.array_equal(masks.to_array(), source.to_array()[rows])
    for name in ("areas", "boxes", "scores", "prompt_index", "logits", "stability"):
        assert np.array_equal(getattr(masks, name), getattr(source, name)[rows]), name
    for name in ("labels", "ids"):
        assert getattr(masks, name) == tuple(getattr(source, name)[row] for row in rows), name


@pytest.mark.parametrize("measured_before", [False, True])
@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (3, [3]),
        (-1, [4]),
        (np.int64(2), [2]),
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(4, 1), []),
        ([3, 0, 3], [3, 0, 3]),
        (np.array([-1, 1]), [4, 1]),
        (np.array([True, False, False, True, False]), [0, 3]),
        ([], []),
        (np.zeros(0, np.uint8), []),
    ],
)
def test_every_kind_of_index_takes_pixels_and_columns_alike(key: Any, rows: list[int], measured_before: bool) -> None:
    masks = labelled()
    if measured_before:
        assert len(masks.areas) == 5
    assert_rows(masks[key], labelled(), rows)


def test_iteration_gives_masks_of_one_in_order() -> None:
    masks = labelled()
    for index, one in enumerate(masks):
        assert_rows(one, masks, [index])


@pytest.mark.parametrize("key", [5, -6, [0, 5], np.array([-6])])
def test_an_index_outside_is_an_index_error(key: Any) -> None:
    with pytest.raises(IndexError, match="there are 5"):
        labelled()[key]


@pytest.mark.parametrize("key", ["a", 1.0, True, np.array([True, False]), np.zeros((2, 2), np.int64), None])
def test_an_index_of_another_type_or_shape_is_a_type_error(key: Any) -> None:
    with pytest.raises(TypeError, match="5 bools"):
        labelled()[key]


def test_a_slice_shares_the_memory_of_the_whole() -> None:
    masks = labelled()
    assert np.shares_memory(masks[1:3].runs.counts, masks.runs.counts)


@pytest.mark.slow
@given(stacks(max_count=4), st.data())
def test_concat_undoes_slicing(stack: Stack, data: st.DataObject) -> None:
    masks = Masks.from_array(stack)
    cut = data.draw(st.integers(0, len(stack)))
    assert Masks.concat([masks[:cut], masks[cut:]]).equals(masks)
    assert Masks.concat(list(masks) or [masks]).equals(masks)


def test_concat_keeps_columns_and_drops_logits_that_not_every_part_has() -> None:
    masks = labelled()
    assert_rows(Masks.concat([masks[3:], masks[:3]]), masks, [3, 4, 0, 1, 2])
    joined = Masks.concat([masks, masks.replace(logits=None, stability=None)])
    assert joined.logits is None
    assert joined.stability is None
    assert joined.labels == masks.labels * 2
    other_size = masks.replace(logits=np.zeros((5, 2, 2)))
    assert Masks.concat([masks, other_size]).logits is None


def test_concat_of_nothing_or_of_different_images_is_refused() -> None:
    with pytest.raises(MaskError, match=r"Masks\.empty"):
        Masks.concat([])
    with pytest.raises(MaskError, match="4×5 and 5×4"):
        Masks.concat([Masks.empty(4, 5), Masks.empty(5, 4)])


def test_masks_nobody_scored_score_one_and_belong_to_no_prompt() -> None:
    masks = Masks.from_array(np.ones((2, 3, 4), np.bool_))
    assert (masks.scores.tolist(), masks.prompt_index.tolist()) == ([1, 1], [-1, -1])
    assert (masks.labels, masks.ids, masks.logits, masks.stability) == ((None, None), (None, None), None, None)
    assert (masks.width, masks.height, repr(masks)) == (4, 3, "Masks(2 of a 4×3 image)")


def test_replace_changes_only_what_is_named() -> None:
    masks = labelled()
    other = masks.replace(labels=["a", None, "b", "c", "d"])
    assert other.labels == ("a", None, "b", "c", "d")
    assert other.ids == masks.ids
    assert np.array_equal(other.scores, masks.scores)
    assert masks.replace(labels=()).labels == (None,) * 5
    assert masks.replace(logits=None).logits is None
    assert masks.replace(ids=np.arange(5)).ids == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"scores": [1, 2]}, "scores must have shape 5"),
        ({"scores": ["x"] * 5}, "scores must be numbers"),
        ({"scores": [float("nan")] * 5}, "got NaN"),
        ({"labels": ["a"]}, r"labels must be one per mask \(5\); got 1"),
        ({"labels": "a"}, "got 1"),
        ({"labels": [1] * 5}, "labels must be str or None; got 1"),
        ({"ids": [1.5] * 5}, "ids must be int or str or None"),
        ({"prompt_index": [0.5] * 5}, "prompt_index must be 5 integers"),
        ({"prompt_index": [0] * 4}, "prompt_index must be 5 integers"),
        ({"logits": np.zeros((5, 4))}, "logits must have shape 5×n×n"),
        ({"logits": np.zeros((4, 4, 4))}, "logits must have shape 5×n×n"),
        ({"stability": [1]}, "stability must have shape 5"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: dict[str, Any], words: str) -> None:
    with pytest.raises(MaskError, match=words):
        labelled().replace(**columns)


def test_no_array_of_masks_can_be_written_to_not_even_of_a_copy() -> None:
    masks = labelled()
    for kept in (masks, pickle.loads(pickle.dumps(masks)), copy.deepcopy(masks), masks[1:3], masks[[0, 1]]):
        arrays = [kept.runs.counts, kept.runs.offsets, kept.scores, kept.prompt_index, kept.areas, kept.boxes]
        for array in [*arrays, kept.logits, kept.stability]:
            assert array is not None
            assert not array.flags.writeable
    with pytest.raises(AttributeError):
        masks.runs = None  # type: ignore[misc, assignment]


def test_the_arrays_that_masks_were_made_of_stay_the_callers() -> None:
    scores = np.array([0.25, 0.5], np.float32)
    logits = np.zeros((2, 3, 3), np.float32)
    masks = Masks.from_array(np.ones((2, 3, 4), np.bool_)).replace(scores=scores, logits=logits)
    scores[0], logits[0] = 9, 9
    assert masks.scores.tolist() == [0.25, 0.5]
    assert masks.logits is not None
    assert not masks.logits.any()


def test_a_pickled_copy_is_the_same() -> None:
    masks = labelled()
    assert_rows(pickle.loads(pickle.dumps(masks[1:4])), masks, [1, 2, 3])


def test_equals_tells_pixels_apart_and_sizes_and_order() -> None:
    masks = labelled(2)
    assert masks.equals(masks.replace(labels=()))
    assert not masks.equals(masks[::-1])
    assert not masks.equals(masks[:1])
    assert not Masks.empty(4, 5).equals(Masks.empty(5, 4))


def test_the_old_name_of_a_prompt_of_a_mask_still_works() -> None:
    with pytest.warns(DeprecationWarning, match=r"Masks\.as_prompt\(\) is now Prompt\.from_mask\(mask\)"):
        prompt = labelled()[2].as_prompt(points=[(1, 2)])
    assert (prompt.label, prompt.id) == ("label 2", 12)
    assert prompt.points is not None


@pytest.mark.parametrize(
    ("counts", "offsets", "words"),
    [
        ([6], [0], "offsets must go from 0 to 1"),
        ([6], [], "offsets must go from 0 to 1"),
        ([6], [1, 1], "offsets must go from 0 to 1"),
        ([6], [0, 0, 1], "mask 0 has no runs"),
        ([6, 6], [0, 3, 2], "mask 1 has no runs"),
        ([6.0], [0, 1], "counts must be a flat array of integers"),
        ([[6]], [0, 1], "counts must be a flat array of integers"),
        ([6, 5], [0, 1, 2], "runs of mask 1 sum to 5"),
        ([7, -1], [0, 2], "0 or more; got -1"),
    ],
)
def test_runs_that_make_no_masks_are_refused(counts: Any, offsets: Any, words: str) -> None:
    with pytest.raises(MaskError, match=words):
        Masks.from_runs(counts, offsets, 3, 2)


def test_runs_come_back() -> None:
    masks = labelled()
    assert Masks.from_runs(masks.runs.counts, masks.runs.offsets, masks.width, masks.height).equals(masks)
    assert len(Masks.from_runs([], [0], 3, 2)) == 0


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (1.5, 2), ("a", 2), (2**16, 2**16), (float("inf"), 1)])
def test_sizes_that_no_image_has_are_refused(size: Any) -> None:
    with pytest.raises(MaskError, match="masks need an image"):
        Masks.empty(*size)


def test_no_masks_at_all_work_everywhere() -> None:
    none = Masks.empty(7, 5)
    assert none.to_array().shape == (0, 5, 7)
    assert none.to_packed().shape == (0, 5, 1)
    assert none.to_label_map().tolist() == [[0] * 7] * 5
    assert none.boxes.shape == (0, 4)
    assert none.areas.shape == (0,)
    assert none.rotated_boxes().shape == (0, 5)
    assert none.iou(none).shape == none.box_iou(none).shape == (0, 0)
    assert none.nms(0.5).shape == none.nms(0.5, by="box").shape == (0,)
    assert none.to_coco_rle() == none.to_coco_rle(compressed=False) == []
    assert none.to_polygons() == none.to_polygons(1.0) == []
    assert none.polygon_loss(1.0).shape == (0,)
    assert not list(none)
    assert not list(none.crops())
    for masks in (
        none[:],
        none[[]],
        none[np.zeros(0, np.bool_)],
        Masks.concat([none, none]),
        none.remove_small_regions(9),
    ):
        assert masks.equals(none)
    assert Masks.from_array(np.zeros((0, 5, 7), np.bool_)).equals(none)
    assert Masks.from_crops([], [], 7, 5).equals(none)
    assert Masks.from_packed(none.to_packed(), 7, 5).equals(none)
    assert Masks.from_label_map(none.to_label_map()).equals(none)
    assert Masks.from_polygons([], 7, 5).equals(Masks.from_polygons([], 7, 5, rule="coco"))
    assert none.resize(3, 9).equals(Masks.empty(3, 9))
    assert none.crop((1, 1, 3, 2)).equals(Masks.empty(2, 1))
    assert none.paste(9, 9, 1, 1).equals(Masks.empty(9, 9))
    assert none.union().areas.tolist() == none.intersection().areas.tolist() == [0]
    assert pickle.loads(pickle.dumps(none)).equals(none)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (20_000, 200), (200, 20_000)])
def test_tiny_long_and_tall_images_work_everywhere(size: tuple[int, int]) -> None:
    width, height = size
    stack = np.zeros((3, height, width), np.bool_)
    stack[1] = True
    stack[2, height // 3 :: 7, width // 3 :: 5] = True
    masks = Masks.from_array(stack)
    assert np.array_equal(masks.to_array(), stack)
    assert masks.areas.tolist() == stack.sum(axis=(1, 2)).tolist()
    assert Masks.from_coco_rle(masks.to_coco_rle()).equals(masks)
    assert Masks.from_polygons(masks.to_polygons(), width, height).equals(masks)
    assert Masks.from_packed(masks.to_packed(), width, height).equals(masks)
    assert masks.resize(width, height).equals(masks)
    assert masks.resize(1, 1).resize(width, height)[1].equals(masks[1])
    assert masks.remove_small_regions(3)[:2].equals(masks[:2])
    assert np.allclose(masks.iou(masks).diagonal(), [0, 1, 1])
    assert masks.rotated_boxes()[1].tolist() == pytest.approx([width / 2, height / 2, width, height, 0], abs=1e-2)


def test_old_names_still_work() -> None:
    masks = labelled(2)
    with pytest.warns(DeprecationWarning, match=r"Masks\.same_as\(\) is now equals\(\)"):
        assert masks.same_as(masks)
    with pytest.warns(DeprecationWarning, match=r"Masks\.clean\(\) is now remove_small_regions\(\)"):
        assert masks.clean(3).equals(masks.remove_small_regions(3))


@pytest.mark.parametrize("key", [slice(1, 3), slice(None, None, 2), [0, 2], 1])
def test_what_was_measured_before_an_index_stays_read_only(key: Any) -> None:
    masks = labelled()
    assert len(masks.areas) == 5
    taken = masks[key]
    for array in (taken.areas, taken.boxes, taken.scores, taken.prompt_index, taken.runs.counts, taken.runs.offsets):
        assert not array.flags.writeable
