"""`Image`: one picture whatever it came as, decoded once, the same for every thread, and nobody's to change."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from samovar.errors import ImageError
from samovar.image import Image
from samovar.image import decode as decode_module
from tests.hostile import encoded, photo

WIDTH, HEIGHT = 31, 20
PIXELS = photo(WIDTH, HEIGHT)
PNG = encoded(Pillow.fromarray(PIXELS), "PNG")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    path.write_bytes(PNG)
    return path


class CountedDecodes:
    """Counts how often files are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = decode_module.decode

        def counted(*arguments: object) -> NDArray[np.uint8]:
            self.count += 1
            return real(*arguments)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(decode_module, "decode", counted)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> CountedDecodes:
    return CountedDecodes(monkeypatch)


# ------------------------------------------------------------------------------------------- laziness and sharing


def test_nothing_is_decoded_before_the_pixels_are_asked_for(file: Path, decodes: CountedDecodes) -> None:
    image = Image(file)
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert image.file_digest() == blake3(PNG).hexdigest()
    assert decodes.count == 0
    assert image.pixels is image.pixels
    assert image.digest == image.digest
    assert decodes.count == 1


def test_images_made_of_an_image_share_its_decoding(file: Path, decodes: CountedDecodes) -> None:
    first = Image(file)
    second = Image(first, name="again")
    assert decodes.count == 0
    assert second.pixels is first.pixels
    assert (second.file_digest(), second.path) == (blake3(PNG).hexdigest(), file)
    assert decodes.count == 1


def test_many_threads_decode_once(file: Path, decodes: CountedDecodes) -> None:
    image = Image(file)
    ready = threading.Barrier(8)

    def look(_round: int) -> tuple[int, str, int]:
        ready.wait()
        return id(image.pixels), image.digest, image.width

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(look, range(8)))) == 1
    assert decodes.count == 1


def test_pixels_are_read_only(file: Path) -> None:
    for source in (file, PNG, PIXELS, Pillow.fromarray(PIXELS), PIXELS[:, :, 0]):
        with pytest.raises(ValueError, match="read-only"):
            Image(source).pixels[0, 0, 0] = 1


def test_changing_the_callers_objects_does_not_change_the_image() -> None:
    array, view, picture, buffer = PIXELS.copy(), PIXELS.copy(), Pillow.fromarray(PIXELS), bytearray(PNG)
    frozen_view = view[:]
    frozen_view.setflags(write=False)
    images = [Image(array), Image(frozen_view), Image(picture), Image(buffer)]
    array[:] = 0
    view[:] = 0
    picture.paste((0, 0, 0), (0, 0, WIDTH, HEIGHT))
    buffer[:] = bytes(len(buffer))
    for image in images:
        np.testing.assert_array_equal(image.pixels, PIXELS)


def test_an_image_survives_pickling(file: Path) -> None:
    for source in (file, PNG, PIXELS):
        image = pickle.loads(pickle.dumps(Image(source, name="kept")))
        np.testing.assert_array_equal(image.pixels, PIXELS)
        assert image.name == "kept"
        assert not image.pixels.flags.writeable


# ------------------------------------------------------------------------------------------- digest


def test_the_digest_covers_channel_order_dtype_shape_and_pixels_each_with_its_length() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    fields = (b"RGB", b"uint8", b"2,2,3", bytes(range(12)))
    expected = blake3(b"".join(len(field).to_bytes(8, "little") + field for field in fields)).hexdigest()
    assert Image(pixels).digest == expected


def test_the_same_bytes_in_another_shape_have_another_digest() -> None:
    data = photo(64, 48).ravel()
    assert Image(data.reshape(48, 64, 3)).digest != Image(data.reshape(64, 48, 3)).digest


def test_one_changed_pixel_or_swapped_channels_change_the_digest() -> None:
    changed = PIXELS.copy()
    changed[7, 5, 1] ^= 1
    assert len({Image(pixels).digest for pixels in (PIXELS, changed, PIXELS[:, :, ::-1])}) == 3


# ------------------------------------------------------------------------------------------- crop


@given(st.data())
def test_a_crop_is_the_slice_and_has_the_digest_of_its_pixels(data: st.DataObject) -> None:
    x1 = data.draw(st.integers(0, WIDTH - 1))
    y1 = data.draw(st.integers(0, HEIGHT - 1))
    x2 = data.draw(st.integers(x1 + 1, WIDTH))
    y2 = data.draw(st.integers(y1 + 1, HEIGHT))
    crop = Image(PIXELS).crop(x1, y1, x2, y2)
    np.testing.assert_array_equal(crop.pixels, PIXELS[y1:y2, x1:x2])
    assert (crop.width, crop.height) == (x2 - x1, y2 - y1)
    assert crop.digest == Image(PIXELS[y1:y2, x1:x2]).digest


def test_a_crop_shares_the_memory_of_its_image(file: Path) -> None:
    image = Image(file)
    crop = image.crop(2, 3, 12, 13)
    assert np.shares_memory(crop.pixels, image.pixels)
    assert not crop.pixels.flags.writeable
    assert crop.name == "street.png[2,3,12,13]"
    assert np.shares_memory(crop.crop(1, 1, 2, 2).pixels, image.pixels)


@pytest.mark.parametrize(
    "box", [(0, 0, WIDTH + 1, 5), (-1, 0, 5, 5), (5, 5, 5, 9), (9, 5, 5, 9), (0, 0, 5, HEIGHT + 1)]
)
def test_crops_outside_the_image_or_without_area_are_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ImageError, match=r"^array: expected a crop x1 < x2, y1 < y2 inside 31×20, got .*; clip it"):
        Image(PIXELS).crop(*box)


def test_a_crop_takes_whole_pixels_only() -> None:
    Image(PIXELS).crop(np.int64(0), np.int32(0), 5, 5)
    with pytest.raises(ImageError, match="in whole pixels"):
        Image(PIXELS).crop(0.5, 0, 5, 5)  # type: ignore[arg-type]  # on purpose
