"""The conditioning picture of segmentation ControlNets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from samovar import Masks
from samovar_adapters.inpaint.segmentation_map import segmentation_map


def discs(*circles: tuple[int, int, int]) -> Masks:
    y, x = np.mgrid[:60, :90]
    return Masks.from_array(np.stack([(x - cx) ** 2 + (y - cy) ** 2 < r * r for cx, cy, r in circles]))


@given(st.permutations(range(4)))
def test_the_order_of_the_masks_does_not_matter(order: list[int]) -> None:
    masks = discs((30, 30, 25), (30, 30, 8), (70, 20, 12), (60, 40, 15))
    assert np.array_equal(segmentation_map(masks[order]), segmentation_map(masks))


def test_small_masks_lie_over_large_ones_and_the_rest_is_black() -> None:
    picture = segmentation_map(discs((30, 30, 25), (30, 30, 8)))
    assert (picture[0, 89] == 0).all()
    assert not np.array_equal(picture[30, 30], picture[30, 48])
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 3


def test_hundreds_of_masks_have_hundreds_of_colours() -> None:
    masks = Masks.from_label_map(np.arange(1, 501).reshape(20, 25))
    colours = np.unique(segmentation_map(masks).reshape(-1, 3), axis=0)
    assert len(colours) == 500
    assert (colours.max(axis=1) > 60).all()


def test_no_masks_are_black() -> None:
    assert not segmentation_map(Masks.empty(5, 4)).any()
