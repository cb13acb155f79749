"""The deepest pixel of a mask."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from samovar import Masks
from samovar_adapters.formats import deepest
from tests.adapters.scenes import any_masks, photos


def by_scipy(mask: Masks) -> tuple[float, float]:
    scipy = pytest.importorskip("scipy.ndimage")
    dense = np.pad(mask.to_array()[0], 1)
    squared = np.rint(scipy.distance_transform_edt(dense) ** 2)
    row, column = np.unravel_index(int(squared.argmax()), dense.shape)
    return int(column) - 0.5, int(row) - 0.5


@pytest.mark.slow
@given(masks=any_masks())
def test_it_is_where_scipy_finds_it(masks: Masks) -> None:
    for mask in masks[masks.areas > 0]:
        assert deepest(mask) == by_scipy(mask)


@pytest.mark.slow
def test_it_is_where_scipy_finds_it_in_real_masks_and_from_any_thread(data_folder: Path) -> None:
    masks = [mask for _, found in photos(data_folder, 8) for mask in found]
    expected = [by_scipy(mask) for mask in masks]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(deepest, masks)) == expected


def test_it_is_the_middle_of_a_square_and_the_pixel_of_a_pixel() -> None:
    square = np.zeros((1, 9, 12), bool)
    square[0, 2:7, 3:8] = True
    assert deepest(Masks.from_array(square)) == (5.5, 4.5)
    assert deepest(Masks.from_array(np.ones((1, 1, 1), bool))) == (0.5, 0.5)
