"""Resize, crop, paste, clean, NMS and rotated boxes, against the same done on arrays."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from samovar.errors import MaskError
from samovar.masks import Masks
from tests.core.masks.shapes import Stack, blobs, stacks

sides = st.one_of(st.integers(1, 12), st.integers(1, 200))


@pytest.mark.slow
@given(stacks(max_side=80), sides, sides)
def test_resize_takes_the_pixel_under_each_new_pixels_centre(stack: Stack, width: int, height: int) -> None:
    rows = (2 * np.arange(height) + 1) * stack.shape[1] // (2 * height)
    columns = (2 * np.arange(width) + 1) * stack.shape[2] // (2 * width)
    resized = Masks.from_array(stack).resize(width, height)
    assert np.array_equal(resized.to_array(), stack[:, rows][:, :, columns])


@pytest.mark.slow
@given(stacks(min_count=1, max_count=1, max_side=80), st.integers(1, 4), st.integers(1, 4))
def test_resize_by_whole_factors_is_that_of_pillow(stack: Stack, across: int, down: int) -> None:
    size = stack.shape[2] * across, stack.shape[1] * down
    theirs = np.asarray(PillowImage.fromarray(stack[0]).resize(size, PillowImage.Resampling.NEAREST))
    enlarged = Masks.from_array(stack).resize(*size)
    assert np.array_equal(enlarged.to_array()[0], theirs)
    assert enlarged.resize(stack.shape[2], stack.shape[1]).equals(Masks.from_array(stack))


@pytest.mark.slow
@given(stacks(max_side=40), st.integers(-50, 60), st.integers(-50, 60), st.integers(1, 60), st.integers(1, 60))
def test_a_crop_is_a_window_with_background_outside_the_image(stack: Stack, x: int, y: int, w: int, h: int) -> None:
    around = np.pad(stack, ((0, 0), (120, 120), (120, 120)))
    cropped = Masks.from_array(stack).crop((x, y, x + w, y + h))
    assert (cropped.width, cropped.height) == (w, h)
    assert np.array_equal(cropped.to_array(), around[:, 120 + y : 120 + y + h, 120 + x : 120 + x + w])


@given(stacks(max_side=40), st.integers(0, 30), st.integers(0, 30))
def test_a_paste_is_undone_by_a_crop(stack: Stack, x: int, y: int) -> None:
    masks = Masks.from_array(stack)
    pasted = masks.paste(masks.width + 40, masks.height + 35, x, y)
    assert np.array_equal(pasted.areas, masks.areas)
    assert pasted.crop((x, y, x + masks.width, y + masks.height)).equals(masks)


def test_what_is_known_of_masks_survives_but_for_logits_that_no_longer_fit() -> None:
    masks = Masks.from_array(blobs(3, 40)).replace(labels=list("abc"), logits=np.zeros((3, 4, 4)), stability=[1, 0, 1])
    assert masks.labels == ("a", "b", "c")
    for changed in (masks.resize(20, 30), masks.remove_small_regions(5)):
        assert changed.labels == masks.labels
        assert changed.logits is masks.logits
    for changed in (masks.crop((0, 0, 9, 9)), masks.paste(90, 90, 1, 2)):
        assert changed.labels == masks.labels
        assert changed.stability is masks.stability
        assert changed.logits is None


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 4),
        (3, 0, 2, 4),
        (0, 0, 2.5, 4),
        (0, 0, 4),
        (0, 0, float("nan"), 1),
        (0, 0, float("inf"), float("inf")),
        "abcd",
    ],
)
def test_boxes_that_cannot_be_cropped_are_refused(box: Any) -> None:
    with pytest.raises(MaskError, match="a crop's box must"):
        Masks.empty(5, 5).crop(box)


@pytest.mark.parametrize("place", [(0.5, 0), (0, float("nan")), (float("inf"), 0), ("a", 0)])
def test_places_between_pixels_are_refused(place: Any) -> None:
    with pytest.raises(MaskError, match="pasted at whole pixels"):
        Masks.empty(5, 5).paste(8, 8, *place)


@pytest.mark.parametrize("min_area", [-1, float("nan")])
def test_areas_that_are_none_are_refused(min_area: float) -> None:
    with pytest.raises(MaskError, match="min_area must be 0 or more pixels"):
        Masks.empty(5, 5).remove_small_regions(min_area)


def remove_small_regions(mask: NDArray[Any], min_area: float, mode: Literal["holes", "islands"]) -> NDArray[Any]:
    """The published behaviour: small 8-connected regions go; if all islands are small the largest stays."""
    background = mode == "holes"
    _, regions, stats, _ = cv2.connectedComponentsWithStats((mask ^ background).astype(np.uint8), connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = np.flatnonzero(sizes < min_area) + 1
    if len(small) == 0:
        return mask
    if background:
        return mask | np.isin(regions, small)
    kept = np.setdiff1d(np.arange(1, len(sizes) + 1), small)
    return np.isin(regions, kept if len(kept) else sizes.argmax() + 1)


@given(stacks(max_side=40), st.integers(0, 40))
def test_clean_removes_small_regions_as_segment_anything_does(stack: Stack, min_area: int) -> None:
    for mask, cleaned in zip(stack, Masks.from_array(stack).remove_small_regions(min_area).to_array(), strict=True):
        if not mask.any():
            assert not cleaned.any()
            continue
        filled = remove_small_regions(mask, min_area, "holes")
        expected = remove_small_regions(filled, min_area, "islands")
        if not np.array_equal(cleaned, expected):
            # Only the choice between several largest islands of one size is free.
            assert cleaned.sum() == expected.sum() < min_area
            assert not (cleaned & ~filled).any()


def test_clean_fills_holes_before_it_drops_islands() -> None:
    mask = np.zeros((12, 12), np.bool_)
    mask[1:6, 1:6] = True
    mask[2:5, 2:5] = False  # 16 pixels around a hole of 9
    mask[9, 9] = True
    (cleaned,) = Masks.from_array(mask[None]).remove_small_regions(20).to_array()
    expected = np.zeros((12, 12), np.bool_)
    expected[1:6, 1:6] = True
    assert np.array_equal(cleaned, expected)


@pytest.mark.slow
@given(stacks(max_count=5, max_side=30), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.sampled_from(["mask", "box"]))
def test_nms_keeps_what_no_better_scored_mask_covers(
    stack: Stack, threshold: float, by: Literal["mask", "box"]
) -> None:
    scores = np.random.default_rng(len(stack)).integers(0, 3, len(stack)) / 4  # ties: the earlier one is kept
    masks = Masks.from_array(stack).replace(scores=scores)
    overlaps = masks.iou(masks) if by == "mask" else masks.box_iou(masks)
    kept: list[int] = []
    for index in sorted(range(len(masks)), key=lambda i: -scores[i]):
        if all(overlaps[index, other] <= threshold for other in kept):
            kept.append(index)
    assert masks.nms(threshold, by=by).tolist() == kept


def test_nms_by_anything_else_is_refused() -> None:
    with pytest.raises(MaskError, match='"mask" or "box"'):
        Masks.empty(3, 3).nms(0.5, by="area")  # type: ignore[arg-type]


@pytest.mark.slow
@given(stacks(max_side=60))
def test_rotated_boxes_hold_every_corner_of_every_pixel(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    for mask, (cx, cy, w, h, angle) in zip(stack, masks.rotated_boxes().astype(np.float64), strict=True):
        if not mask.any():
            assert (cx, cy, w, h, angle) == (0, 0, 0, 0, 0)
            continue
        rows, columns = np.nonzero(mask)
        corners = np.concatenate([np.stack([columns + dx, rows + dy], 1) for dx in (0, 1) for dy in (0, 1)]) - (cx, cy)
        turn = np.deg2rad(angle)
        assert np.abs(corners @ (np.cos(turn), np.sin(turn))).max() <= w / 2 + 1e-3
        assert np.abs(corners @ (-np.sin(turn), np.cos(turn))).max() <= h / 2 + 1e-3
        assert w * h <= (np.ptp(columns) + 1) * (np.ptp(rows) + 1) * (1 + 1e-5)
        assert 0 <= angle < 90


def test_a_turned_rectangle_has_its_own_size_and_angle() -> None:
    corners = cv2.boxPoints(((200.0, 180.0), (200.0, 80.0), 30.0))
    cx, cy, w, h, angle = Masks.from_polygons([[corners]], 400, 400).rotated_boxes()[0].tolist()
    assert (cx, cy) == pytest.approx((200, 180), abs=1)
    # A pixel whose centre is inside reaches out by at most half its diagonal, on both sides.
    assert (w, h) == pytest.approx((200.7, 80.7), abs=0.8)
    assert angle == pytest.approx(30, abs=1)
