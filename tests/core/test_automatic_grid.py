"""Where automatic generation looks: crops and grids as SAM's generator lays them out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from samovar.automatic import crops, point_grid


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
