"""What an `Image` can be made of, what it is then called, and what becomes of it when its file changes."""

from __future__ import annotations

import base64
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
from blake3 import blake3
from numpy.typing import NDArray
from PIL import Image as Pillow

from samovar.errors import ImageError
from samovar.image import Image
from samovar.image import decode as decode_module
from tests.hostile import EXIF_ORIENTATION, encoded, photo

WIDTH, HEIGHT = 31, 20
PIXELS = photo(WIDTH, HEIGHT)
PNG = encoded(Pillow.fromarray(PIXELS), "PNG")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    path.write_bytes(PNG)
    return path


def test_every_source_gives_the_same_picture(file: Path) -> None:
    sources = {
        "path": file,
        "string": str(file),
        "bytes": PNG,
        "bytearray": bytearray(PNG),
        "memoryview": memoryview(PNG),
        "file object": io.BytesIO(PNG),
        "base64 data-URL": "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "percent data-URL": "data:image/png," + quote_from_bytes(PNG),
        "Pillow": Pillow.fromarray(PIXELS),
        "lazy Pillow": Pillow.open(io.BytesIO(PNG)),
        "array": PIXELS,
        "Image": Image(file),
    }
    for kind, source in sources.items():
        image = Image(cast("Any", source))
        np.testing.assert_array_equal(image.pixels, PIXELS, err_msg=kind)
        assert (image.width, image.height) == (WIDTH, HEIGHT), kind
        assert image.digest == Image(file).digest, kind


@pytest.mark.parametrize(
    ("source", "got"),
    [
        (None, "got NoneType"),
        (7, "got int"),
        ([[1, 2], [3, 4]], "got list; pass lists as numpy.array"),
        ("", "got an empty string"),
        ("file:///etc/hostname", "got scheme 'file'"),
        ("s3://bucket/cat.jpg", "got scheme 's3'"),
        ("data:image/png;base64", "got a data-URL without a comma"),
        ("data:image/png;base64,@@@@", "expected base64"),
        (io.StringIO("text"), "got one that reads str"),
    ],
)
def test_what_cannot_be_an_image_is_refused_at_once_in_one_line(source: object, got: str) -> None:
    with pytest.raises(ImageError) as caught:
        _ = Image(cast("Any", source)).pixels
    assert got in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cat\.jpg: expected an image file, got no such file; check the path$"):
        _ = Image(tmp_path / "cat.jpg").width
    with pytest.raises(ImageError, match="got a folder; pass the files in it"):
        _ = Image(tmp_path).pixels
    with pytest.raises(ImageError, match="null"):
        _ = Image("cat\0.jpg").pixels
    with pytest.raises(ImageError, match="name too long"):
        _ = Image("x" * 5000).pixels


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes exist on POSIX systems only")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="got a pipe or device; pass its bytes"):
        _ = Image(tmp_path / "pipe.jpg").pixels


def test_a_file_object_is_read_from_where_it_stands_and_may_be_closed_then() -> None:
    stream = io.BytesIO(b"some header" + PNG)
    stream.seek(len(b"some header"))
    image = Image(stream)
    stream.close()
    np.testing.assert_array_equal(image.pixels, PIXELS)
    with pytest.raises(ImageError, match="readable file object, got I/O operation on closed file"):
        Image(stream)


def test_a_pillow_image_is_turned_the_right_way_up_like_its_file() -> None:
    exif = Pillow.Exif()
    exif[EXIF_ORIENTATION] = 6
    data = encoded(Pillow.fromarray(PIXELS), "PNG", exif=exif)
    assert Image(Pillow.open(io.BytesIO(data))).digest == Image(data).digest
    assert Image(data).width == HEIGHT


def test_a_torn_pillow_image_is_an_image_error() -> None:
    torn = Pillow.open(io.BytesIO(PNG[: len(PNG) // 2]))
    with pytest.raises(ImageError, match=r"^Pillow image|^image: expected a whole image"):
        Image(torn)


def test_names_and_paths(file: Path) -> None:
    assert (Image(file).name, Image(file).path) == ("street.png", file)
    assert Image(file, name="frame 7").name == "frame 7"
    assert Image(Image(file)).name == "street.png"
    assert Image(Image(file), name="again").name == "again"
    assert Image("https://example.org/photos/cat.jpg?token=secret").name == "cat.jpg"
    assert Image("https://example.org/").name == "example.org"
    assert Image("data:,x").name == "data-URL"
    assert Image(PNG).name == "bytes"
    assert Image(PIXELS).name == "array"
    with file.open("rb") as stream:
        assert Image(stream).name == "street.png"
    assert Image(PNG).path is None


def test_messages_start_with_the_given_name_else_the_path(file: Path) -> None:
    file.write_bytes(b"")
    with pytest.raises(ImageError, match=r"^frame 7: expected an image, got an empty file"):
        _ = Image(file, name="frame 7").pixels
    with pytest.raises(ImageError) as caught:
        _ = Image(file).pixels
    assert str(caught.value).startswith(f"{file}: expected")


def test_a_name_with_line_breaks_still_makes_one_line() -> None:
    with pytest.raises(ImageError) as caught:
        _ = Image(b"", name="two\nlines").pixels
    assert "\n" not in str(caught.value)


def test_repr_reads_nothing(tmp_path: Path) -> None:
    assert repr(Image(tmp_path / "missing.png")) == "Image('missing.png')"
    assert repr(Image(PIXELS, name="a")) == "Image('a', 31×20)"


def test_the_file_digest_is_of_the_bytes_that_the_pixels_come_from(file: Path) -> None:
    other = encoded(Pillow.fromarray(255 - PIXELS), "PNG")
    image = Image(file)
    assert image.file_digest() == blake3(PNG).hexdigest()
    file.write_bytes(other)
    np.testing.assert_array_equal(image.pixels, PIXELS)  # from the bytes that were handed out, not from the new file
    assert image.file_digest() is None

    image = Image(file)
    np.testing.assert_array_equal(image.pixels, 255 - PIXELS)
    assert image.file_digest() == blake3(other).hexdigest()
    file.write_bytes(PNG)
    assert image.file_digest() is None
    file.unlink()
    assert image.file_digest() is None
    np.testing.assert_array_equal(image.pixels, 255 - PIXELS)


def test_a_file_that_changes_between_header_and_pixels_is_refused(file: Path) -> None:
    image = Image(file)
    assert image.width == WIDTH
    file.write_bytes(encoded(Pillow.fromarray(PIXELS[:10]), "PNG"))
    with pytest.raises(ImageError, match="expected the file as it was first read, got a changed one"):
        _ = image.pixels


def test_only_encoded_sources_have_a_file_digest(file: Path) -> None:
    assert Image(PNG).file_digest() == blake3(PNG).hexdigest()
    assert Image(PIXELS).file_digest() is None
    assert Image(Pillow.open(file)).file_digest() is None
    assert Image(file).crop(0, 0, 5, 5).file_digest() is None
    with pytest.raises(ImageError, match="no such file"):
        Image("missing.png").file_digest()


def test_an_undecoded_copy_knows_the_file_and_keeps_no_pixels() -> None:
    image = Image(PNG, name="kept")
    np.testing.assert_array_equal(image.pixels, PIXELS)
    copy = image.without_pixels()
    assert (copy.name, copy.width, copy.file_digest()) == ("kept", WIDTH, image.file_digest())
    np.testing.assert_array_equal(copy.pixels, PIXELS)
    assert copy.pixels is not image.pixels
    again = Image(image, name="again").without_pixels()
    assert (again.name, again.file_digest()) == ("again", image.file_digest())
    assert again.pixels is not image.pixels
    array = Image(PIXELS)
    assert array.without_pixels() is array
    with pytest.raises(ImageError):
        Image(b"no picture").without_pixels()


def test_an_undecoded_copy_does_not_wait_for_who_decodes_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    decoding, go_on = threading.Event(), threading.Event()
    real = decode_module.decode

    def slow(*arguments: object) -> NDArray[np.uint8]:
        decoding.set()
        assert go_on.wait(20)
        return real(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(decode_module, "decode", slow)
    image = Image(PNG)
    assert image.width == WIDTH
    with ThreadPoolExecutor(1) as pool:
        pixels = pool.submit(lambda: image.pixels)
        assert decoding.wait(20)
        try:
            assert image.without_pixels().file_digest() == blake3(PNG).hexdigest()
        finally:
            go_on.set()
        np.testing.assert_array_equal(pixels.result(), PIXELS)


def test_an_undecoded_copy_of_a_file_is_of_that_very_file(file: Path) -> None:
    copy = Image(file).without_pixels()
    file.write_bytes(encoded(Pillow.fromarray(255 - PIXELS), "PNG"))
    with pytest.raises(ImageError, match="a changed one"):
        _ = copy.pixels
