"""Arrays, crops, packed bits and label maps, there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar.errors import MaskError
from samovar.masks import Masks
from tests.core.masks.shapes import Stack, blobs, stacks


@given(stacks())
def test_arrays_come_back_as_they_went_in(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    back = masks.to_array()
    assert back.dtype == np.bool_
    assert np.array_equal(back, stack)


@given(stacks())
def test_any_memory_layout_and_integer_type_gives_the_same_masks(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    columns = np.ascontiguousarray(stack.transpose(0, 2, 1)).transpose(0, 2, 1)
    coco_layout = np.asfortranarray(stack.transpose(1, 2, 0)).transpose(2, 0, 1)
    strided = stack.repeat(2, axis=2)[:, :, ::2]
    for same in (np.asfortranarray(stack), columns, coco_layout, strided, stack[::-1][::-1]):
        assert Masks.from_array(same).equals(masks)
    for dtype in ("uint8", "int16", "int64"):
        assert Masks.from_array(np.where(stack, 3, 0).astype(dtype)).equals(masks)
        assert Masks.from_array(columns.astype(dtype, order="K")).equals(masks)


@given(stacks())
def test_crops_hold_all_pixels_of_a_mask_and_nothing_around_them(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    for mask, (crop, x, y) in zip(stack, masks.crops(), strict=True):
        if mask.any():
            assert all(side.any() for side in (crop[0], crop[-1], crop[:, 0], crop[:, -1]))
        rebuilt = np.zeros_like(mask)
        rebuilt[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        assert np.array_equal(rebuilt, mask)


@given(stacks())
def test_masks_come_back_from_their_crops(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    crops = list(masks.crops())
    origins = np.array([(x, y) for _, x, y in crops], np.int64).reshape(-1, 2)
    assert Masks.from_crops([crop for crop, _, _ in crops], origins, masks.width, masks.height).equals(masks)


@given(stacks(max_side=70), st.data())
def test_crops_anywhere_in_the_image_are_placed_there(stack: Stack, data: st.DataObject) -> None:
    h, w = stack.shape[1:]
    left, top = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    width, height = left + w + data.draw(st.integers(0, 9)), top + h + data.draw(st.integers(0, 9))
    dense = np.zeros((len(stack), height, width), np.bool_)
    dense[:, top : top + h, left : left + w] = stack
    crops = [crop if index % 2 else np.asfortranarray(crop) for index, crop in enumerate(stack)]
    origins = np.full((len(stack), 2), (left, top))
    assert Masks.from_crops(crops, origins, width, height).equals(Masks.from_array(dense))


@given(stacks())
def test_packed_bits_come_back_and_have_the_documented_layout(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    packed = masks.to_packed()
    assert packed.shape == (*stack.shape[:2], -(-stack.shape[2] // 8))
    assert np.array_equal(packed, np.packbits(stack, axis=-1))
    assert Masks.from_packed(packed, masks.width, masks.height).equals(masks)


def test_padding_bits_of_packed_masks_are_ignored() -> None:
    assert Masks.from_packed(np.full((1, 2, 1), 255, np.uint8), 3, 2).areas.tolist() == [6]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 6))
def test_label_maps_come_back_with_their_values_as_ids(seed: int, height: int, width: int, values: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, values, (height, width))
    masks = Masks.from_label_map(labels)
    assert list(masks.ids) == [value for value in np.unique(labels).tolist() if value != 0]
    for mask, value in zip(masks.to_array(), masks.ids):
        assert np.array_equal(mask, labels == value)


def test_later_masks_show_on_a_label_map_and_give_it_back_where_nothing_overlaps() -> None:
    labels = np.zeros((6, 8), np.int32)
    labels[1:4, 1:4], labels[4:, 5:] = 1, 2
    masks = Masks.from_label_map(labels)
    assert np.array_equal(masks.to_label_map(), labels)
    below = Masks.from_array(np.ones((1, 6, 8), np.bool_))
    assert np.array_equal(Masks.concat([below, masks]).to_label_map(), labels + 1)
    assert Masks.concat([masks, below]).to_label_map().min() == 3


def test_encoding_crops_touches_only_the_crops_not_the_image() -> None:
    crops = list(blobs(50, 40))
    masks = Masks.from_crops(crops, [(40_000, 30_000)] * 50, 45_000, 45_000)
    assert masks.nbytes < 100_000
    assert masks.areas.tolist() == [int(crop.sum()) for crop in crops]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5), np.bool_), r"N×H×W; got shape \(4, 5\); for one mask pass array\[None\]"),
        (np.zeros((2, 3, 4, 5), np.bool_), "N×H×W"),
        (np.zeros((2, 4, 5), np.float32), "threshold it first"),
        (np.zeros((0, 4, 5), np.float32), "threshold it first"),
        (np.zeros((2, 0, 5), np.bool_), "at least 1×1"),
        ([[["a"]]], "bool or integer"),
    ],
)
def test_arrays_that_are_no_masks_are_refused(array: Any, words: str) -> None:
    with pytest.raises(MaskError, match=words):
        Masks.from_array(array)


@pytest.mark.parametrize(
    ("crops", "origins", "words"),
    [
        ([np.ones((2, 2), np.bool_)], [(9, 0)], r"crop 0 \(2×2 at 9, 0\) leaves the 10×8 image; clip it first"),
        ([np.ones((2, 2), np.bool_)], [(0, -1)], "leaves the 10×8 image"),
        ([np.ones((2, 2), np.bool_)], [(0.5, 1)], "1×2 integers"),
        ([np.ones((2, 2), np.bool_)], [(0, 1), (2, 2)], "1×2 integers"),
        ([np.ones(2, np.bool_)], [(0, 1)], "crop 0 must be h×w"),
        ([np.ones((2, 2))], [(0, 1)], "crop 0 must be bool or integer; got float64"),
    ],
)
def test_crops_that_do_not_fit_are_refused(crops: Any, origins: Any, words: str) -> None:
    with pytest.raises(MaskError, match=words):
        Masks.from_crops(crops, origins, 10, 8)


def test_packed_bits_and_label_maps_of_another_shape_or_type_are_refused() -> None:
    with pytest.raises(MaskError, match="N×8×2 uint8; got uint8 of shape"):
        Masks.from_packed(np.zeros((1, 8, 3), np.uint8), 10, 8)
    with pytest.raises(MaskError, match="N×8×2 uint8; got int64"):
        Masks.from_packed(np.zeros((1, 8, 2), np.int64), 10, 8)
    with pytest.raises(MaskError, match="H×W integers"):
        Masks.from_label_map(np.zeros((4, 4)))
