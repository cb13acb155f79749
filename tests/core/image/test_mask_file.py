"""Masks that were saved as pictures: what is not black is the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from samovar.errors import ImageError
from samovar.image import read_mask
from tests.hostile import EXIF_ORIENTATION, png_header

MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:7] = True
MASK[2, 3] = False


@pytest.mark.parametrize("scale", [1, 7, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_any_depth_and_any_number_but_zero_is_mask(tmp_path: Path, dtype: type[np.generic], scale: int) -> None:
    Pillow.fromarray((MASK * scale).astype(dtype)).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), MASK)
    assert read_mask(tmp_path / "mask.tif").dtype == np.bool_


def test_colour_counts_and_alpha_does_not(tmp_path: Path) -> None:
    rgba = np.zeros((6, 8, 4), np.uint8)
    rgba[:, :, 2] = MASK
    rgba[:, :, 3] = 255
    for alpha in (0, 255):
        rgba[:, :, 3] = alpha
        Pillow.fromarray(rgba).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), MASK)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_is_applied_as_it_is_to_the_photo(tmp_path: Path, dtype: type[np.generic]) -> None:
    exif = Pillow.Exif()
    exif[EXIF_ORIENTATION] = 6
    Pillow.fromarray(MASK.astype(dtype)).save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), np.rot90(MASK, -1))


def test_a_file_that_is_no_picture_or_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("not a mask")
    with pytest.raises(ImageError, match=r"mask\.png: expected an image, got a text file"):
        read_mask(tmp_path / "mask.png")
    (tmp_path / "mask.png").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(ImageError, match="expected at most 200,000,000 pixels"):
        read_mask(tmp_path / "mask.png")
