"""Arrays: which shapes and dtypes are pictures, and what they look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from samovar.errors import ImageError
from samovar.image import Image
from tests.hostile import photo

PIXELS = photo(31, 20)
GREY = PIXELS[:, :, 0]
ALPHA = np.full((20, 31, 1), 9, np.uint8)


def test_rgb_is_taken_as_it_is_and_alpha_is_dropped() -> None:
    np.testing.assert_array_equal(Image(PIXELS).pixels, PIXELS)
    np.testing.assert_array_equal(Image(np.concatenate([PIXELS, ALPHA], axis=2)).pixels, PIXELS)


def test_grey_with_and_without_an_axis_for_channels_fills_all_three() -> None:
    expected = np.stack([GREY] * 3, axis=2)
    np.testing.assert_array_equal(Image(GREY).pixels, expected)
    np.testing.assert_array_equal(Image(GREY[:, :, None]).pixels, expected)


def test_any_memory_layout_gives_contiguous_pixels() -> None:
    for array in (np.asfortranarray(PIXELS), PIXELS[::-1, ::2], PIXELS[:, :, ::-1]):
        image = Image(array)
        np.testing.assert_array_equal(image.pixels, array)
        assert image.pixels.flags.c_contiguous


def test_memory_that_nobody_can_write_to_is_not_copied() -> None:
    held = np.frombuffer(PIXELS.tobytes(), np.uint8).reshape(PIXELS.shape)
    assert np.shares_memory(Image(held).pixels, held)
    owner = PIXELS.copy()
    owner.setflags(write=False)  # whoever owns it can turn this back
    assert not np.shares_memory(Image(owner).pixels, owner)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5), bool), "got a bool array; pass a mask as Prompt"),
        (np.zeros((4, 5, 3), np.float32), r"got float32; .*value_range=\(lo, hi\)"),
        (np.zeros((4, 5, 3), np.uint16), "got uint16; .*value_range"),
        (np.zeros((4, 5, 3), np.int64), "got int64; .*value_range"),
        (np.zeros((4, 5, 3), complex), "got dtype complex128; convert it"),
        (np.zeros((4, 5, 3), object), "got dtype object; convert it"),
        (np.zeros((3, 40, 50), np.uint8), r"got shape \(3, 40, 50\); move the channels last"),
        (np.zeros((1, 40, 50, 3), np.uint8), r"pass one image: array\[0\]"),
        (np.zeros((2, 40, 50, 3), np.uint8), "pass one image at a time"),
        (np.zeros((40, 50, 2), np.uint8), r"got shape \(40, 50, 2\)"),
        (np.zeros((0, 50, 3), np.uint8), r"got shape \(0, 50, 3\)"),
        (np.zeros(50, np.uint8), r"got shape \(50,\)"),
        (np.array(5, np.uint8), r"got shape \(\)"),
    ],
)
def test_other_arrays_are_refused_in_one_line(array: NDArray[Any], message: str) -> None:
    with pytest.raises(ImageError, match=f"^array: expected .*{message}"):
        Image(array)


def test_a_value_range_for_uint8_is_refused() -> None:
    with pytest.raises(ImageError, match="expected no value_range for uint8"):
        Image(PIXELS, value_range=(0, 255))


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), (0, float("inf")), (float("nan"), 1), (1,), 5, ("a", "b")])
def test_a_meaningless_value_range_is_refused(value_range: Any) -> None:
    with pytest.raises(ImageError, match=r"expected value_range=\(lo, hi\) with lo < hi"):
        Image(np.zeros((2, 2), np.float32), value_range=value_range)


REAL = st.sampled_from([np.uint16, np.int16, np.int32, np.int64, np.int8, np.float16, np.float32, np.float64])


@given(st.data(), REAL, st.integers(-100, 100), st.integers(1, 1000))
def test_a_value_range_is_linear_and_clips(data: st.DataObject, dtype: type[np.generic], lo: int, span: int) -> None:
    if np.dtype(dtype).kind == "f":
        elements: Any = st.floats(-2048, 2048, width=16)
    else:
        info = np.iinfo(np.dtype(dtype))
        elements = st.integers(max(info.min, -3000), min(info.max, 3000))
    array = data.draw(hnp.arrays(dtype, (3, 4), elements=elements))
    exact = np.clip((array.astype(np.float64) - lo) / span, 0, 1) * 255
    pixels = Image(array, value_range=(lo, lo + span)).pixels[:, :, 0].astype(np.float64)
    assert np.abs(pixels - exact).max() <= 0.5001


def test_infinities_clip_and_nan_is_refused() -> None:
    array = np.array([[-np.inf, 0.5, np.inf]], np.float32)
    assert Image(array, value_range=(0, 1)).pixels[0, :, 0].tolist() == [0, 128, 255]
    array[0, 1] = np.nan
    with pytest.raises(ImageError, match="got NaN pixels; replace them"):
        Image(array, value_range=(0, 1))
