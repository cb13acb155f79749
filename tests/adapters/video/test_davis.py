"""The benchmark's J and F against the definition worked out pixel by pixel, with no image processing library."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from benchmarks.davis import boundary, contour_accuracy, region_similarity

masks = st.integers(1, 24).flatmap(
    lambda h: st.integers(1, 24).flatmap(lambda w: st.tuples(*[arrays(np.bool_, (h, w), elements=st.booleans())] * 2))
)


def edge(mask: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Pixels unlike their right, lower, or lower right neighbour; beyond the frame lies the pixel itself."""
    height, width = mask.shape

    def at(row: int, column: int) -> bool:
        return bool(mask[min(row, height - 1), min(column, width - 1)])

    return {
        (row, column)
        for row in range(height)
        for column in range(width)
        if any(at(row, column) != at(row + down, column + right) for down, right in ((0, 1), (1, 0), (1, 1)))
    }


def brute_force(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    reach = math.ceil(0.008 * math.hypot(*mask.shape))
    found, wanted = edge(mask), edge(truth)
    if not found or not wanted:
        return float(found == wanted)

    def share(of: set[tuple[int, int]], near: set[tuple[int, int]]) -> float:
        hits = sum(any((a - c) ** 2 + (b - d) ** 2 <= reach**2 for c, d in near) for a, b in of)
        return hits / len(of)

    precision, recall = share(found, wanted), share(wanted, found)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(masks)
@settings(max_examples=60)
def test_f_is_that_of_the_definition(pair: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
    assert contour_accuracy(*pair) == pytest.approx(brute_force(*pair))
    assert {(int(row), int(column)) for row, column in np.argwhere(boundary(pair[0]))} == edge(pair[0])


def test_a_shift_within_the_tolerance_costs_no_f_but_some_j() -> None:
    truth = np.zeros((480, 854), np.bool_)
    truth[100:300, 200:500] = True
    shifted = np.roll(truth, 5, axis=1)
    assert contour_accuracy(shifted, truth) == 1
    assert contour_accuracy(np.roll(truth, 30, axis=1), truth) < 0.8
    assert region_similarity(shifted, truth) == pytest.approx(295 / 305)


def test_two_empty_masks_agree() -> None:
    nothing = np.zeros((9, 9), np.bool_)
    assert (region_similarity(nothing, nothing), contour_accuracy(nothing, nothing)) == (1, 1)
