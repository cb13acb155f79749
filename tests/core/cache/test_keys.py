"""Keys: what looks alike but is not the same picture never shares an embedding, and what is the same picture does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from samovar import Image
from samovar.cache import Cache, CacheConfig
from samovar.cache.entry import alias_key, entry_key, fields_digest
from tests.core.cache.support import PixelSegmenter


def noise(height: int = 480, width: int = 640, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encodes(folder: Path, first: Image, second: Image) -> int:
    """How many of two images looked up one after the other had to be encoded; both answers are checked."""
    segmenter = PixelSegmenter()
    cache = Cache.open(CacheConfig.load(folder=folder))
    for image in (first, second):
        assert segmenter.made(cache.get_or_encode([image], segmenter).embeddings[0], image)
    return len(segmenter.encoded)


@given(st.lists(st.binary(max_size=12), max_size=4), st.lists(st.binary(max_size=12), max_size=4))
def test_different_fields_never_digest_alike(one: list[bytes], other: list[bytes]) -> None:
    assert (fields_digest(*one) == fields_digest(*other)) == (one == other)


def test_every_field_of_an_entry_key_counts() -> None:
    keys = {
        entry_key("p", "f", "half"),
        entry_key("q", "f", "half"),
        entry_key("p", "g", "half"),
        entry_key("p", "f", "int8"),
        entry_key("pf", "", "half"),
        entry_key("", "pf", "half"),
    }
    assert len(keys) == 6


def test_an_alias_depends_on_the_decoder() -> None:
    assert alias_key("ab" * 32, "Pillow 10") != alias_key("ab" * 32, "Pillow 11")


def test_wide_and_tall_pictures_of_the_same_bytes_differ(tmp_path: Path) -> None:
    wide = noise(480, 640)
    tall = wide.reshape(640, 480, 3)
    assert wide.tobytes() == tall.tobytes()
    assert encodes(tmp_path, Image(wide), Image(tall)) == 2


def test_rgb_and_bgr_differ(tmp_path: Path) -> None:
    rgb = noise()
    assert encodes(tmp_path, Image(rgb), Image(rgb[:, :, ::-1])) == 2


def test_a_copy_turned_by_its_exif_tag_differs(tmp_path: Path) -> None:
    picture = Pillow.fromarray(noise(48, 64))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "turned.png", exif=exif)
    turned = Image(tmp_path / "turned.png")
    assert (turned.width, turned.height) == (48, 64)
    assert encodes(tmp_path / "cache", Image(tmp_path / "plain.png"), turned) == 2


def test_a_half_turn_by_the_exif_tag_differs_though_the_size_is_the_same(tmp_path: Path) -> None:
    picture = Pillow.fromarray(noise(48, 64))
    exif = Pillow.Exif()
    exif[0x0112] = 3
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "turned.png", exif=exif)
    assert encodes(tmp_path / "cache", Image(tmp_path / "plain.png"), Image(tmp_path / "turned.png")) == 2


def test_a_file_edited_under_the_same_name_differs(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Pillow.fromarray(noise(seed=1)).save(path)
    first = Image(path)
    segmenter, cache = PixelSegmenter(), Cache.open(CacheConfig.load(folder=tmp_path / "cache"))
    assert segmenter.made(cache.get_or_encode([first], segmenter).embeddings[0], first)
    status = path.stat()
    Pillow.fromarray(noise(seed=2)).save(path)
    import os

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # not even the time stamp tells
    second = Image(path)
    assert segmenter.made(cache.get_or_encode([second], segmenter).embeddings[0], second)
    assert len(segmenter.encoded) == 2


def test_the_same_pixels_as_png_and_bmp_share_one_entry(tmp_path: Path) -> None:
    picture = Pillow.fromarray(noise())
    picture.save(tmp_path / "photo.png")
    picture.save(tmp_path / "photo.bmp")
    assert encodes(tmp_path / "cache", Image(tmp_path / "photo.png"), Image(tmp_path / "photo.bmp")) == 1
    assert encodes(tmp_path / "cache", Image(noise()), Image(noise())) == 0, "and with the array they were made of"


def test_a_renamed_and_a_copied_file_share_one_entry(tmp_path: Path) -> None:
    for name in ("one.png", "another.png"):
        Pillow.fromarray(noise()).save(tmp_path / name)
    assert encodes(tmp_path / "cache", Image(tmp_path / "one.png"), Image(tmp_path / "another.png")) == 1


def test_weights_swapped_under_the_same_name_differ(tmp_path: Path) -> None:
    cache = Cache.open(CacheConfig.load(folder=tmp_path))
    image = Image(noise())
    for fingerprint in ("weights-a", "weights-b"):
        segmenter = PixelSegmenter(fingerprint)
        found = cache.get_or_encode([image], segmenter, model="the same name")
        assert found.encoded == 1
        assert segmenter.made(found.embeddings[0], image)


def test_another_crop_of_the_same_picture_differs(tmp_path: Path) -> None:
    image = Image(noise())
    assert encodes(tmp_path, image.crop(0, 0, 320, 240), image.crop(1, 0, 321, 240)) == 2
    assert encodes(tmp_path / "other", image.crop(0, 0, 320, 240), Image(noise()[:240, :320])) == 1


def test_another_value_range_of_the_same_16_bit_file_differs(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 4096, (48, 64), np.uint16)
    Pillow.fromarray(grey).save(tmp_path / "deep.png")
    deep = tmp_path / "deep.png"
    assert encodes(tmp_path / "cache", Image(deep), Image(deep, value_range=(0, 4095))) == 2


def test_a_name_that_the_caller_made_up_is_no_part_of_the_key(tmp_path: Path) -> None:
    assert encodes(tmp_path, Image(noise(), name="a"), Image(noise(), name="b")) == 1
    assert encodes(tmp_path / "other", Image(noise(seed=1), name="a"), Image(noise(seed=2), name="a")) == 2
