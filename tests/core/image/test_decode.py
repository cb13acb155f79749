"""Encoded files: what becomes of every mode and orientation, and how a broken one is refused."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from samovar.errors import ImageError
from samovar.image import Image
from tests.hostile import BAD, EXIF_ORIENTATION, UNUSUAL, encoded, photo, png_header

WIDTH, HEIGHT = 31, 20
PIXELS = photo(WIDTH, HEIGHT)
RGB = Pillow.fromarray(PIXELS)


def test_lossless_files_come_back_exactly() -> None:
    for kind in ("PNG", "BMP", "TIFF", "PPM", "TGA"):
        np.testing.assert_array_equal(Image(encoded(RGB, kind)).pixels, PIXELS, err_msg=kind)
    np.testing.assert_array_equal(Image(encoded(RGB, "WEBP", lossless=True)).pixels, PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_to_size_and_pixels(format: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[EXIF_ORIENTATION] = orientation
    data = encoded(RGB, format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB"))
    image = Image(data)
    assert (image.width, image.height) == expected.shape[1::-1]  # before anything is decoded
    np.testing.assert_array_equal(image.pixels, expected)
    assert (image.width, image.height) == expected.shape[1::-1]
    assert (image.width < image.height) == (orientation >= 5)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_a_meaningless_orientation_is_ignored(orientation: int) -> None:
    exif = Pillow.Exif()
    exif[EXIF_ORIENTATION] = orientation
    np.testing.assert_array_equal(Image(encoded(RGB, "PNG", exif=exif)).pixels, PIXELS)


def test_torn_exif_does_not_spoil_a_good_picture() -> None:
    exif = Pillow.Exif()
    exif[EXIF_ORIENTATION] = 6
    for cut in (7, 12, 18, 25):
        image = Image(encoded(RGB, "PNG", exif=exif.tobytes()[:cut]))
        assert image.width * image.height == WIDTH * HEIGHT
        assert image.pixels.shape == (image.height, image.width, 3)


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_but_good_files_decode(kind: str) -> None:
    suffix, encode = UNUSUAL[kind]
    image = Image(encode(PIXELS))
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert image.pixels.dtype == np.uint8
    if kind not in ("grey", "sixteen-bit"):
        error = np.abs(image.pixels.astype(int) - PIXELS).mean()
        assert error < 25, f"colours of the {kind} .{suffix} are off by {error:.0f}"


def test_alpha_is_dropped_not_composited() -> None:
    alpha = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    clear = Pillow.fromarray(np.concatenate([PIXELS, alpha], axis=2))
    np.testing.assert_array_equal(Image(encoded(clear, "PNG")).pixels, PIXELS)
    grey = Pillow.fromarray(PIXELS[:, :, 0])
    grey.putalpha(0)
    np.testing.assert_array_equal(Image(encoded(grey, "PNG")).pixels[:, :, 2], PIXELS[:, :, 0])


def test_a_palette_with_transparency_gives_its_colours() -> None:
    palette = RGB.quantize(16)
    data = encoded(palette, "PNG", transparency=bytes(range(16)))
    np.testing.assert_array_equal(Image(data).pixels, np.asarray(palette.convert("RGB")))


def test_one_bit_files_are_black_and_white() -> None:
    data = encoded(RGB.convert("1"), "PNG")
    assert set(np.unique(Image(data).pixels)) <= {0, 255}


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_the_upper_eight_bits(format: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    image = Image(encoded(Pillow.fromarray(values), format))
    assert image.pixels[0].tolist() == [[v] * 3 for v in (0, 0, 1, 128, 255)]


def test_sixteen_bit_pgm_of_either_depth_spans_black_to_white() -> None:
    data = b"P5 3 1 65535\n" + np.array([0, 32768, 65535], ">u2").tobytes()
    assert Image(data).pixels[0, :, 0].tolist() == [0, 128, 255]
    twelve = b"P5 3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes()
    assert Image(twelve).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_a_value_range_stretches_sixteen_bit_files() -> None:
    values = np.array([[100, 200, 300, 4000]], np.uint16)
    image = Image(encoded(Pillow.fromarray(values), "PNG"), value_range=(100, 300))
    assert image.pixels[0, :, 0].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_thirty_two_bit_files_need_a_value_range(dtype: type[np.generic]) -> None:
    data = encoded(Pillow.fromarray(np.array([[0, 5, 10]], dtype)), "TIFF")
    with pytest.raises(ImageError, match=r"^bytes: expected 8 or 16 bits a channel, got 32-bit .*value_range"):
        _ = Image(data).pixels
    assert Image(data, value_range=(0, 10)).pixels[0, :, 1].tolist() == [0, 128, 255]


def test_nan_in_a_float_file_is_refused() -> None:
    data = encoded(Pillow.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF")
    with pytest.raises(ImageError, match="NaN"):
        _ = Image(data, value_range=(0, 1)).pixels


def test_a_value_range_for_eight_bits_is_refused() -> None:
    with pytest.raises(ImageError, match="8-bit RGB; leave it out"):
        _ = Image(encoded(RGB, "PNG"), value_range=(0, 255)).pixels


def test_lab_colours_are_refused_in_one_line() -> None:
    data = encoded(Pillow.frombytes("LAB", (2, 1), bytes(6)), "TIFF")
    with pytest.raises(ImageError, match="got Lab colours"):
        _ = Image(data).pixels


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Pillow.new("RGB", (8, 6), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert (Image(data).pixels == (255, 0, 0)).all(), kind


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_in_one_line(kind: str) -> None:
    _, make = BAD[kind]
    with pytest.raises(ImageError, match=r"^cellar\.jpg: expected .+, got .+; .+$") as caught:
        _ = Image(make(PIXELS), name="cellar.jpg").pixels
    assert "\n" not in str(caught.value)


def test_every_truncation_of_a_file_is_an_image_error_or_the_whole_picture() -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        data = encoded(RGB, kind)
        whole = Image(data).pixels
        for cut in range(0, len(data), max(1, len(data) // 60)):
            try:
                survived = Image(data[:cut]).pixels
            except ImageError:
                continue
            # A few trailing bytes may be padding; a missing half must never pass.
            assert cut > len(data) // 2, kind
            np.testing.assert_array_equal(survived, whole, err_msg=f"{kind} cut at {cut} of {len(data)}")


FILES = {kind: encoded(RGB, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO")}
CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8)


@given(st.sampled_from(sorted(FILES)), CHANGES)
def test_no_damage_raises_anything_but_image_error(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILES[kind])
    for position, value in changes:
        data[position % len(data)] = value
    image = Image(bytes(data), max_pixels=1_000_000)
    with contextlib.suppress(ImageError):
        assert image.pixels.shape == (image.height, image.width, 3)


def test_the_pixel_bound_is_checked_on_the_header_alone() -> None:
    with pytest.raises(ImageError, match=r"expected at most 200,000,000 pixels, got 60000×60000; .*SAMOVAR_MAX_PIXELS"):
        _ = Image(png_header(60_000, 60_000)).width
    with pytest.raises(ImageError, match="at most 600 pixels, got 31×20"):
        _ = Image(encoded(RGB, "PNG"), max_pixels=600).pixels
    assert Image(encoded(RGB, "PNG"), max_pixels=620).width == WIDTH


def test_the_pixel_bound_can_be_raised_beyond_pillows_own() -> None:
    assert Image(png_header(60_000, 60_000), max_pixels=4_000_000_000).width == 60_000


def test_the_environment_sets_the_pixel_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMOVAR_MAX_PIXELS", "600")
    with pytest.raises(ImageError, match="at most 600 pixels"):
        _ = Image(encoded(RGB, "PNG")).pixels
    assert Image(encoded(RGB, "PNG"), max_pixels=1000).width == WIDTH
    monkeypatch.setenv("SAMOVAR_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="SAMOVAR_MAX_PIXELS to be a positive integer, got 'many'"):
        Image(encoded(RGB, "PNG"))


def test_postscript_is_never_opened() -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
    with pytest.raises(ImageError, match="got a PostScript drawing"):
        _ = Image(data).pixels


def test_pillows_warnings_stay_inside_even_when_threads_overlap() -> None:
    torn = encoded(RGB, "TIFF")[:-8]  # its directory is cut: Pillow warns
    large = png_header(10_000, 10_000)  # within our bound, beyond the half of Pillow's at which it warns
    clear = encoded(RGB.quantize(8), "PNG", transparency=bytes(8))

    def work(_round: int) -> None:
        assert Image(large).width == 10_000
        assert Image(clear).pixels.shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(ImageError):
            _ = Image(torn).pixels

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(80)))
        assert list(warnings.filters) == filters
    assert [str(warning.message) for warning in caught] == []


def test_pillows_log_messages_are_not_printed_on_standard_error() -> None:
    speak = "import logging; logging.getLogger('PIL.TiffImagePlugin').error('odd tag')"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for code, printed in (speak, "odd tag\n"), ("import samovar.image.decode; " + speak, ""):
        done = subprocess.run([sys.executable, "-c", code], env=paths, check=True, capture_output=True, text=True)
        assert done.stderr == printed
