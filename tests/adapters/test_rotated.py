"""Rotated boxes in the three conventions, and DOTA text."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from samovar import Image, Masks
from samovar.errors import InputError
from samovar.testing import MaskSinkTests
from samovar.testing.sinks import SinkFactory
from samovar_adapters.rotated import Convention, corners, rotated_boxes, turned
from samovar_adapters.rotated.boxes import DotaSink

RANGES: dict[Convention, tuple[float, float]] = {"le90": (-90, 90), "le135": (-45, 135), "oc": (-90, 0)}


def bars() -> Masks:
    """Bars of every slant, 80 by 20 pixels; and a mask of nothing."""
    array = np.zeros((19, 120, 120), np.uint8)
    for mask, degrees in zip(array, range(0, 180, 10)):
        ring = cv2.boxPoints(((60, 60), (80, 20), degrees))
        cv2.fillPoly(mask, [ring.round().astype(np.int32)], 1)
    return Masks.from_array(array)


def drawn(boxes: NDArray[np.float32]) -> Masks:
    return Masks.from_polygons([[ring] for ring in corners(boxes)], 120, 120)


@pytest.mark.parametrize("convention", RANGES)
def test_every_convention_names_the_same_rectangle_within_its_range(convention: Convention) -> None:
    masks = bars()
    boxes = rotated_boxes(masks, convention)
    degrees = np.degrees(boxes[:-1, 4])
    low, high = RANGES[convention]
    assert ((degrees >= low - 1e-4) & (degrees < high)).all()
    assert np.diag(drawn(boxes[:-1]).iou(masks[:-1])).min() > 0.9
    if convention != "oc":
        assert (boxes[:, 2] >= boxes[:, 3]).all(), "the width is the longer side"
    assert boxes[-1].tolist() == [0] * 5


@pytest.mark.parametrize("convention", RANGES)
def test_upright_boxes_keep_their_place_in_every_convention(convention: Convention) -> None:
    upright = np.array([[10, 20, 90, 60], [10, 20, 30, 100], [5, 5, 25, 25]], np.float32)
    boxes = turned(upright, convention)
    ring = corners(boxes)
    assert np.allclose(np.concatenate([ring.min(axis=1), ring.max(axis=1)], axis=1), upright, atol=1e-4)
    degrees = np.degrees(boxes[:, 4])
    low, high = RANGES[convention]
    assert ((degrees >= low - 1e-4) & (degrees < high)).all()
    assert turned(np.zeros((0, 4), np.float32), convention).shape == (0, 5)


def test_a_bar_that_rises_to_the_right_has_a_negative_angle() -> None:
    """Angles turn clockwise on the screen, where y points down."""
    rising = Masks.from_polygons([[[[0, 100], [80, 20], [90, 30], [10, 110]]]], 120, 120)
    assert np.degrees(rotated_boxes(rising)[0, 4]) == pytest.approx(-45, abs=2)


def test_an_unknown_convention_is_one_line() -> None:
    with pytest.raises(InputError, match="one of le90, le135, oc; got 'le180'"):
        rotated_boxes(bars(), "le180")  # type: ignore[arg-type]


class TestDota(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return DotaSink


def test_a_line_of_dota_text_has_four_corners_a_category_and_a_difficulty(tmp_path: Path) -> None:
    masks = bars()[[0, 18, 4]].replace(labels=["small vehicle", "nothing there", None])
    DotaSink(tmp_path / "a.txt").write("a.png", Image(np.zeros((120, 120, 3), np.uint8)), masks)
    lines = [line.split() for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert [line[8:] for line in lines] == [["small-vehicle", "0"], ["object", "0"]]
    rings = np.array([line[:8] for line in lines], float).reshape(-1, 4, 2)
    assert np.diag(Masks.from_polygons([[ring] for ring in rings], 120, 120).iou(masks[[0, 2]])).min() > 0.9
