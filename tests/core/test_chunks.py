"""Ragged prompts are cut into decode calls that fit a byte budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar import Image
from samovar.errors import InputError
from samovar.runtime import MAX_WINDOW, decode_calls, image_windows

counts = st.lists(st.integers(0, 50), max_size=8)


@given(counts, st.integers(1, 1000), st.integers(1, 20_000), st.none() | st.integers(1, 64))
def test_every_prompt_is_decoded_once_and_in_order(counts: list[int], cost: int, budget: int, most: int | None) -> None:
    seen: list[tuple[int, int]] = []
    for call in decode_calls(counts, [cost] * len(counts), budget, most):
        seen += [(piece.image, i) for piece in call for i in range(piece.start, piece.stop)]
    assert seen == [(image, i) for image, count in enumerate(counts) for i in range(count)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 1000)), max_size=8), st.integers(1, 20_000))
def test_a_call_exceeds_the_budget_only_when_it_holds_a_single_prompt(
    images: list[tuple[int, int]], budget: int
) -> None:
    costs = [cost for _, cost in images]
    for call in decode_calls([count for count, _ in images], costs, budget):
        held = sum((piece.stop - piece.start) * costs[piece.image] for piece in call)
        assert held <= budget or sum(piece.stop - piece.start for piece in call) == 1


@given(counts, st.integers(1, 10))
def test_a_call_holds_at_most_the_number_of_prompts_asked_for(counts: list[int], most: int) -> None:
    for call in decode_calls(counts, [1] * len(counts), 1 << 30, most):
        assert sum(piece.stop - piece.start for piece in call) <= most


@pytest.mark.parametrize("most", [0, -1])
def test_a_call_that_may_hold_nothing_is_refused(most: int) -> None:
    with pytest.raises(InputError, match="max_prompts must be at least 1"):
        list(decode_calls([3], [1], 90, most))


def test_small_images_share_a_call() -> None:
    assert [len(call) for call in decode_calls([3, 3, 3], [10, 10, 10], 90)] == [3]


def test_windows_hold_the_pixels_that_fit_and_at_least_one_image() -> None:
    small, big = Image(np.zeros((10, 10, 3), np.uint8)), Image(np.zeros((100, 100, 3), np.uint8))
    pairs = [(small, "a"), (small, "b"), (big, "c"), (small, "d")]
    assert [[name for _, name in window] for window in image_windows(pairs, 700)] == [["a", "b"], ["c"], ["d"]]


def test_windows_hold_a_bounded_number_of_images_however_small() -> None:
    tiny = Image(np.zeros((1, 1, 3), np.uint8))
    assert max(len(window) for window in image_windows([(tiny, i) for i in range(100)], 1 << 30)) == MAX_WINDOW
