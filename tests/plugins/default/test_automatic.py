"""Every object of a real photo, by the embedded default's own settings."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import samovar


@pytest.mark.slow
def test_a_photo_gives_a_handful_to_a_hundred_distinct_masks_in_seconds(photo: Path) -> None:
    sam = samovar.load("default", cache="off")
    sam.segment_all(photo, points_per_side=2)  # compiles
    start = time.process_time()
    masks = sam.segment_all(photo)
    assert time.process_time() - start < 30
    assert 10 <= len(masks) <= 100
    assert len(masks[masks.nms(0.9)]) == len(masks)


@pytest.mark.slow
def test_the_cup_on_the_demo_photo_is_found_without_being_asked_for(photo: Path) -> None:
    sam = samovar.load("default", cache="off")
    masks = sam.segment_all(photo)
    cup = samovar.Masks.from_polygons(
        [[[(176, 60), (290, 18), (410, 80), (380, 160), (290, 200), (200, 160)]]], 600, 400
    )
    assert masks.iou(cup).max() > 0.5
