"""COCO RLE in both forms, byte for byte as pycocotools writes and reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from samovar.errors import MaskError
from samovar.masks import Masks
from tests.core.masks.shapes import Stack, coco_rles, stacks


@given(stacks())
def test_compressed_text_is_byte_for_byte_that_of_pycocotools(stack: Stack) -> None:
    ours = Masks.from_array(stack).to_coco_rle()
    assert [rle["counts"].encode() for rle in ours] == [rle["counts"] for rle in coco_rles(stack)]
    assert all(rle["size"] == list(stack.shape[1:]) for rle in ours)


@given(stacks(min_count=1))
def test_uncompressed_counts_are_those_that_pycocotools_compresses(stack: Stack) -> None:
    height, width = stack.shape[1:]
    for ours, theirs in zip(Masks.from_array(stack).to_coco_rle(compressed=False), coco_rles(stack)):
        assert coco.frPyObjects(ours, height, width)["counts"] == theirs["counts"]


@given(stacks())
def test_masks_read_from_text_from_lists_and_from_a_mixture_are_the_same(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    height, width = stack.shape[1:]
    texts, lists = masks.to_coco_rle(), masks.to_coco_rle(compressed=False)
    mixed = [(texts, lists)[index % 2][index] for index in range(len(masks))]
    for rles in (texts, lists, mixed, coco_rles(stack)):
        assert Masks.from_coco_rle(rles, width, height).equals(masks)


@given(stacks(min_count=1))
def test_pycocotools_decodes_what_was_written(stack: Stack) -> None:
    decoded = coco.decode(Masks.from_array(stack).to_coco_rle())
    assert np.array_equal(decoded.transpose(2, 0, 1), stack)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.booleans())
def test_runs_of_zero_inside_a_mask_are_merged_away(counts: list[int], compressed: bool) -> None:
    total = sum(counts) + 1
    rle: dict[str, Any] = {"size": [1, total], "counts": [*counts, 1]}
    dense = np.repeat(np.arange(len(counts) + 1) % 2 == 1, rle["counts"])
    if compressed:
        rle = coco.frPyObjects(rle, 1, total)
    masks = Masks.from_coco_rle([rle])
    assert np.array_equal(masks.to_array()[0, 0], dense)
    assert masks.equals(Masks.from_array(dense[None, None]))


def test_runs_longer_than_any_coco_photo_survive_the_text() -> None:
    counts = [2**29, 1, 2**28, 5, 2**30 - 2**29 - 2**28 - 6]
    masks = Masks.from_runs(counts, [0, 5], 2**15, 2**15)
    assert Masks.from_coco_rle(masks.to_coco_rle()).equals(masks)


@pytest.mark.parametrize(
    ("rles", "words"),
    [
        ([{"size": [2, 3]}], "RLE 0 must be"),
        ([{"counts": [6]}], "RLE 0 must be"),
        ([7], "RLE 0 must be"),
        ({"size": [2, 3], "counts": [6]}, "pass \\[rle\\]"),
        ([{"size": [2, 3], "counts": [5]}], "sum to 5 pixels; expected 6"),
        ([{"size": [2, 3], "counts": [-1, 7]}], "0 or more"),
        ([{"size": [2, 3], "counts": []}], "list of integers"),
        ([{"size": [2, 3], "counts": [6.0]}], "list of integers"),
        ([{"size": [2, 3], "counts": "5"}], "check that size"),
        ([{"size": [2, 3], "counts": "V"}], "cut short"),
        ([{"size": [2, 3], "counts": "6é"}], "compressed text"),
        ([{"size": [2, 3], "counts": "6~"}], "compressed text"),
        ([{"size": [2, 3], "counts": ""}], "compressed text"),
        ([{"size": [2, 3], "counts": "oooooooooo0"}], "compressed text"),
        ([{"size": [0, 3], "counts": "0"}], "at least 1×1"),
        ([{"size": [2.5, 2], "counts": "5"}], "at least 1×1 whole pixels"),
        ([{"size": [2**20, 2**20], "counts": "5"}], "below 2³¹"),
        ([{"size": [2, 3], "counts": [6]}, {"size": [3, 2], "counts": [6]}], "RLE 1 is 2×3; expected 3×2"),
        ([], "pass width= and height="),
    ],
)
def test_malformed_rle_is_refused_in_one_line(rles: Any, words: str) -> None:
    with pytest.raises(MaskError, match=words) as caught:
        Masks.from_coco_rle(rles)
    assert "\n" not in str(caught.value)


def test_torn_text_is_refused_wherever_it_is_torn() -> None:
    text = Masks.from_array(np.random.default_rng(0).random((1, 40, 40)) < 0.5).to_coco_rle()[0]["counts"]
    for length in range(0, len(text), 7):
        with pytest.raises(MaskError, match="cut short"):
            Masks.from_coco_rle([{"size": [40, 40], "counts": text[:length]}])
