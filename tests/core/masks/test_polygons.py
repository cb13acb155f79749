"""Polygons with holes: exact along the pixel edges, bounded when simplified, and COCO's own drawing."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

from samovar.errors import MaskError
from samovar.masks import Masks, Polygon
from tests.core.masks.shapes import Stack, blobs, stacks


def signed_area(ring: NDArray[Any]) -> float:
    x, y = ring.astype(np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


@given(stacks(max_side=60))
def test_polygons_along_pixel_edges_draw_the_same_masks_again(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    assert Masks.from_polygons(masks.to_polygons(), masks.width, masks.height).equals(masks)


@given(stacks(max_side=40))
def test_there_is_one_polygon_for_every_region_joined_along_edges_largest_first(stack: Stack) -> None:
    for mask, polygons in zip(stack, Masks.from_array(stack).to_polygons(), strict=True):
        regions, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
        assert len(polygons) == regions - 1
        areas = [signed_area(polygon.exterior) for polygon in polygons]
        assert areas == sorted(areas, reverse=True)


@given(stacks(max_side=40))
def test_rings_turn_clockwise_around_regions_and_back_around_holes_and_their_areas_add_up(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    for polygons, area in zip(masks.to_polygons(), masks.areas):
        assert all(signed_area(polygon.exterior) > 0 for polygon in polygons)
        assert all(signed_area(hole) < 0 for polygon in polygons for hole in polygon.holes)
        assert sum(signed_area(ring) for polygon in polygons for ring in polygon.rings) == area


@given(stacks(max_side=40))
def test_no_ring_touches_itself_and_every_point_is_a_corner(stack: Stack) -> None:
    for polygons in Masks.from_array(stack).to_polygons():
        for ring in (ring for polygon in polygons for ring in polygon.rings):
            assert len(np.unique(ring, axis=0)) == len(ring)
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps != 0).sum(axis=1) == 1).all()
            assert ((steps[:, 0] != 0) != (np.roll(steps[:, 0], -1) != 0)).all()


def test_a_ring_around_a_hole_that_opens_at_a_corner_is_a_polygon_with_a_hole() -> None:
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.bool_)
    ((polygon,),) = Masks.from_array(mask[None]).to_polygons()
    assert polygon.exterior.tolist() == [[3, 0], [3, 2], [2, 2], [2, 3], [0, 3], [0, 0]]
    assert [sorted(hole.tolist()) for hole in polygon.holes] == [[[1, 1], [1, 2], [2, 1], [2, 2]]]


def test_two_pixels_that_meet_at_a_corner_are_two_polygons() -> None:
    assert len(Masks.from_array(np.eye(2, dtype=np.bool_)[None]).to_polygons()[0]) == 2


def distance_to(points: NDArray[Any], ring: NDArray[Any]) -> float:
    """The largest distance of any of the points from the ring."""
    a, b = ring[None].astype(np.float64), np.roll(ring, -1, axis=0)[None].astype(np.float64)
    p = points[:, None].astype(np.float64)
    along = ((p - a) * (b - a)).sum(-1) / np.maximum(((b - a) ** 2).sum(-1), 1e-12)
    nearest = a + np.clip(along, 0, 1)[..., None] * (b - a)
    return float(np.sqrt(((p - nearest) ** 2).sum(-1)).min(axis=1).max())


def points_in(polygons: list[list[Polygon]]) -> int:
    return sum(len(ring) for regions in polygons for polygon in regions for ring in polygon.rings)


def along(ring: NDArray[Any]) -> NDArray[Any]:
    """Points on a ring, a fifth of its sides apart."""
    steps = np.linspace(0, 1, 5, endpoint=False)[None, :, None]
    points: NDArray[Any] = (ring[:, None] + steps * (np.roll(ring, -1, axis=0) - ring)[:, None]).reshape(-1, 2)
    return points


@pytest.mark.slow
@given(stacks(min_count=1, max_count=1, max_side=40), st.sampled_from([0.3, 0.5, 0.75, 1.0, 2.5, 6.0]))
def test_a_simplified_outline_strays_no_farther_than_the_tolerance(stack: Stack, tolerance: float) -> None:
    masks = Masks.from_array(stack)
    for exact, simple in zip(masks.to_polygons()[0], masks.to_polygons(tolerance)[0], strict=True):
        for before, after in zip(exact.rings, simple.rings, strict=True):
            assert len(after) <= len(before)
            assert distance_to(along(before), after) <= tolerance + 1e-6
            assert distance_to(along(after), before) <= tolerance + 1e-6


@given(stacks(max_side=40), st.sampled_from([0.3, 0.45, 0.5]))
def test_up_to_half_a_pixel_points_are_left_out_and_nothing_is_lost(stack: Stack, tolerance: float) -> None:
    masks = Masks.from_array(stack)
    polygons = masks.to_polygons(tolerance)
    assert Masks.from_polygons(polygons, masks.width, masks.height).equals(masks)
    assert points_in(polygons) <= points_in(masks.to_polygons())


def test_a_digital_line_becomes_a_line_and_a_rectangle_stays_one() -> None:
    y, x = np.mgrid[:60, :90]
    half_plane, rectangle = (y < 10 + x // 3), (x >= 10) & (x < 80) & (y >= 20) & (y < 21)
    ((under,),), ((thin,),) = (Masks.from_array(mask[None]).to_polygons(0.5) for mask in (half_plane, rectangle))
    assert len(under.exterior) == 6  # two of them are the line
    assert sorted(thin.exterior.tolist()) == [[10, 20], [10, 21], [80, 20], [80, 21]]


def test_simplifying_leaves_out_most_points_of_smooth_shapes_and_says_what_it_costs() -> None:
    masks = Masks.from_array(blobs(8, 200))
    exact, simple = masks.to_polygons(), masks.to_polygons(1.0)
    assert points_in(simple) < points_in(exact) / 3
    drawn = Masks.from_polygons(simple, 200, 200)
    loss = masks.polygon_loss(1.0)
    assert loss.dtype == np.float32
    assert np.allclose(loss, 1 - masks.iou(drawn).diagonal(), atol=1e-6)
    assert 0 < loss.max() < 0.05
    assert loss.mean() < 0.015
    assert not masks.polygon_loss(0.0).any()


def test_regions_thinner_than_the_tolerance_are_kept_whole() -> None:
    mask = np.zeros((1, 9, 30), np.bool_)
    mask[0, 4, 4] = mask[0, 2, 10:25] = True
    masks = Masks.from_array(mask)
    assert Masks.from_polygons(masks.to_polygons(5.0), 30, 9).equals(masks)


coordinates = st.floats(-60, 120, allow_subnormal=False) | st.integers(-20, 160).map(lambda value: value / 2)
flat_rings = st.integers(3, 9).flatmap(lambda count: st.lists(coordinates, min_size=2 * count, max_size=2 * count))


@pytest.mark.slow
@given(st.lists(flat_rings, min_size=1, max_size=3), st.integers(1, 70), st.integers(1, 70))
def test_the_coco_rule_draws_exactly_what_pycocotools_draws(rings: list[list[float]], width: int, height: int) -> None:
    theirs = coco.merge(coco.frPyObjects(rings, height, width))
    ours = Masks.from_polygons([rings], width, height, rule="coco")
    assert ours.to_coco_rle()[0]["counts"].encode() == theirs["counts"]


@pytest.mark.slow
@given(flat_rings, st.integers(1, 40), st.integers(1, 40))
def test_the_even_odd_rule_takes_the_pixels_whose_centre_is_inside(ring: list[float], width: int, height: int) -> None:
    (mask,) = Masks.from_polygons([[ring]], width, height).to_array()
    x, y = np.asarray(ring, np.float64).reshape(-1, 2).T
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    cx, cy = np.arange(width) + 0.5, np.arange(height) + 0.5
    inside, clear = np.zeros((height, width), np.bool_), np.ones((height, width), np.bool_)
    for ax, ay, bx, by in zip(x, y, x2, y2):
        spans = (np.minimum(ax, bx) <= cx) & (cx < np.maximum(ax, bx))
        crossing = np.full(width, np.inf)
        crossing[spans] = ay + (cx[spans] - ax) / (bx - ax) * (by - ay)
        inside ^= crossing[None] <= cy[:, None]
        clear &= np.abs(crossing[None] - cy[:, None]) > 1e-6  # where rounding cannot decide
    assert np.array_equal(mask[clear], inside[clear])


def test_all_forms_of_rings_are_taken_together() -> None:
    square = [[1, 1], [4, 1], [4, 4], [1, 4]]
    flat = [5, 1, 8, 1, 8, 4, 5, 4]
    polygon = Polygon(
        np.array([[1, 5], [5, 5], [5, 9], [1, 9]], np.float32), (np.array([[2, 6], [2, 7], [3, 7], [3, 6]]),)
    )
    masks = Masks.from_polygons([[square, flat, polygon], [], [np.array(square)]], 10, 10)
    assert masks.areas.tolist() == [9 + 9 + 16 - 1, 0, 9]


def test_a_polygon_far_larger_than_the_image_costs_no_more_than_the_image() -> None:
    far = 1.6e7
    ring = [-far, -far, far, -far + 3, far - 5, far, -far + 7, far]
    assert Masks.from_polygons([[ring]], 30, 20).areas.tolist() == [600]
    assert Masks.from_polygons([[ring]], 30, 20, rule="coco").areas.tolist() == [600]


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ([[[1, 2, 3, 4]]], "K ≥ 3"),
        ([[[1, 2, 3, 4, 5, 6, 7]]], "K ≥ 3"),
        ([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], "K×2"),
        ([[["a", "b"]]], "must be K×2 numbers"),
        ([[[0, 0, 1, float("nan"), 1, 1]]], "infinite, NaN"),
        ([[], [[0, 0, 1, 1e30, 1, 1]]], "instance 1 has points that are infinite, NaN or beyond"),
        ([Polygon(np.zeros((3, 2), np.float32))], r"pass \[polygon\]"),
        ([[1.0, 2.0, 3.0]], "instance 0"),
    ],
)
def test_malformed_polygons_are_refused(instances: Any, words: str) -> None:
    with pytest.raises(MaskError, match=words):
        Masks.from_polygons(instances, 10, 10)


def test_unknown_rules_and_bad_tolerances_are_refused() -> None:
    with pytest.raises(MaskError, match="even-odd"):
        Masks.from_polygons([], 10, 10, rule="winding")  # type: ignore[arg-type]
    for tolerance in (-1.0, float("nan"), float("inf")):
        with pytest.raises(MaskError, match="0 or more pixels"):
            Masks.empty(3, 3).to_polygons(tolerance)
