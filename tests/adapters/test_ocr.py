"""What becomes of text that an engine found: points along its middle, prompts, and the mask to repaint."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from samovar import Masks
from samovar.errors import InputError
from samovar_adapters.ocr import TextLine, text_mask, to_prompts
from samovar_adapters.text import centre_line


def arc(radius: float, thickness: float, degrees: float) -> NDArray[np.float64]:
    """A band of text bent around (200, 200), as a curved word's polygon: along its top, and back along its bottom."""
    turn = np.radians(np.linspace(-90 - degrees / 2, -90 + degrees / 2, 12))
    ray = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return np.concatenate([ray * (radius + thickness), ray[::-1] * radius]) + 200


def depth(polygon: NDArray[np.float64], points: NDArray[np.float64]) -> list[float]:
    """How far inside each point is, in pixels."""
    ring = polygon.astype(np.float32)
    return [cv2.pointPolygonTest(ring, (float(x), float(y)), measureDist=True) for x, y in points]


def test_a_straight_line_gets_a_point_a_letter_in_reading_order() -> None:
    points = centre_line(np.array([[10, 20], [110, 20], [110, 40], [10, 40]], float))
    assert np.allclose(points, [[20, 30], [40, 30], [60, 30], [80, 30], [100, 30]])


def test_a_square_gets_its_middle() -> None:
    assert np.allclose(centre_line(np.array([[0, 0], [9, 0], [9, 9], [0, 9]], float)), [[4.5, 4.5]])


@pytest.mark.parametrize("degrees", [30, 90, 150, 200])
def test_points_follow_curved_text(degrees: float) -> None:
    band = arc(100, 30, degrees)
    points = centre_line(band)
    assert len(points) >= 2
    assert min(depth(band, points)) > 3
    if degrees <= 150:
        assert np.abs(np.hypot(*(points - 200).T) - 115).max() < 8, "halfway between the inner and the outer edge"


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=4, max_size=9, unique=True),
    st.floats(0, 6.28),
)
def test_points_are_inside_any_polygon(corners: list[tuple[int, int]], turn: float) -> None:
    centre = np.mean(corners, axis=0)
    ring = np.array(sorted(corners, key=lambda p: np.arctan2(p[1] - centre[1], p[0] - centre[0])), float)
    ring = (ring - centre) @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) + 100
    if cv2.contourArea(ring.astype(np.float32)) < 5:
        return
    assert min(depth(ring, centre_line(ring))) > -1e-3


def test_lines_become_boxes_with_points_and_labels() -> None:
    line = TextLine([10, 20, 50, 20, 50, 30, 10, 30], "tea", 0.9)
    (prompt,) = to_prompts([line], 100, 100)
    assert prompt.label == "tea"
    assert prompt.box is not None
    assert prompt.box.tolist() == [10, 20, 50, 30]
    assert prompt.points is not None
    assert (prompt.points[:, 1] == 25).all()


def test_text_without_a_reading_is_labelled_text() -> None:
    assert to_prompts([TextLine([[1, 1], [9, 1], [9, 9]])], 20, 20).labels == ("text",)


def test_text_beyond_the_edges_is_cut_off_or_left_out() -> None:
    """Detectors of curved text expand their polygons, out of the image too."""
    over = TextLine([[-103, 5], [40, 5], [40, 25], [-103, 25]], "over")
    outside = TextLine([[-50, 5], [-10, 5], [-10, 25]], "outside")
    sliver = TextLine([[5, 5], [40, 5], [70, 5]], "sliver")
    prompts = to_prompts([outside, over, sliver], 60, 60)
    assert prompts.labels == ("over",)
    assert prompts.boxes.tolist() == [[0, 5, 40, 25]]
    prompts.check_inside(60, 60)


@pytest.mark.parametrize("polygon", [[], [[1, 2], [3, 4]], [[0, 0], [9, 0], [9, np.nan]]])
def test_a_polygon_that_is_none_is_refused(polygon: list[list[float]]) -> None:
    with pytest.raises(InputError, match="three or more finite points"):
        TextLine(polygon)


def dense(masks: Masks, dilate: int) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = text_mask(masks, dilate=dilate).to_array()[0]
    return mask


@pytest.mark.parametrize("dilate", [0, 1, 3, 50])
def test_the_mask_to_repaint_is_the_grown_union(dilate: int) -> None:
    array = np.zeros((2, 40, 60), bool)
    array[0, 1:6, 2:20] = True
    array[1, 30:40, 50:60] = True  # in a corner, which growing must not leave
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * dilate + 1, 2 * dilate + 1))
    expected = cv2.dilate(np.asarray(array.any(axis=0), np.uint8), disc).astype(bool)
    assert np.array_equal(dense(Masks.from_array(array), dilate), expected)


def test_without_text_there_is_nothing_to_repaint() -> None:
    assert text_mask(Masks.empty(30, 20)).areas.tolist() == [0]
    assert text_mask(Masks.from_array(np.zeros((2, 20, 30), bool))).areas.tolist() == [0]


def test_a_mask_cannot_shrink() -> None:
    with pytest.raises(InputError, match="0 or more; got -1"):
        text_mask(Masks.empty(30, 20), dilate=-1)


def test_corners_that_come_crosswise_are_a_box_all_the_same() -> None:
    straight = [[10, 10], [70, 20], [68, 40], [8, 30]]
    prompts = to_prompts(
        [TextLine([straight[place] for place in order]) for order in ((0, 1, 2, 3), (0, 1, 3, 2))], 90, 90
    )
    first, second = prompts
    assert first.box is not None
    assert second.box is not None
    assert first.points is not None
    assert second.points is not None
    assert np.array_equal(first.box, second.box)
    assert np.allclose(first.points, second.points, atol=1e-3)
