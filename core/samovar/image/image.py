"""`Image`: pixels from any source, decoded once and on demand."""

from __future__ import annotations

import operator
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, SupportsIndex, Union, cast

import numpy as np
from numpy.typing import NDArray

from samovar.deprecation import renamed_method
from samovar.errors import ImageError, image_error
from samovar.http import without_secrets
from samovar.image.arrays import SupportsTensor, ValueRange, check_value_range, from_array, from_tensor, pixels_digest
from samovar.image.sources import (
    DEFAULT_MAX_PIXELS,
    BytesSource,
    EncodedSource,
    FileSource,
    is_url,
    named,
    pixel_bound,
    read_all,
)

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["Image", "ImageLike", "read_mask"]

ImageLike = Union[
    "Image",
    str,
    "os.PathLike[str]",
    bytes,
    bytearray,
    memoryview,
    BinaryIO,
    "PIL.Image.Image",
    NDArray[Any],
    SupportsTensor,
]
"""Whatever `Image` can be made of."""

_FIELDS = ("_digest", "_encoded", "_label", "_max_pixels", "_name", "_original", "_pixels", "_size", "_value_range")


class Image:
    """One image as RGB pixels, whatever it came as. Immutable; any number of threads may use it at once.

    Files, URLs and encoded bytes are decoded on first use of `pixels`, once. Arrays, tensors and Pillow images belong
    to the caller, who may change them later, and are therefore taken at once (copied if they can be written to).

    Args:
        source: a path; an http, https or data URL; encoded bytes or an open binary file; a Pillow image; an array of
            H×W, H×W×1, H×W×3 or H×W×4, channels in the order RGB; a torch tensor of C×H×W or H×W×C; an `Image`.
        value_range: (lo, hi), the values that become black and white. Required for float arrays and for integers other
            than uint8; optional for 16-bit grey files, which otherwise keep their upper eight bits; refused for 8 bits.
        max_pixels: refuse encoded images of more pixels, by their header. The environment variable
            SAMOVAR_MAX_PIXELS if not given, else 200 million.
        name: shown in messages and captions; the file's name if not given.

    Raises:
        ImageError: at once for a source that cannot be an image; on first use for one that turns out not to be.
    """

    __slots__ = (*_FIELDS, "_lock")

    def __init__(
        self,
        source: ImageLike,
        *,
        value_range: ValueRange | None = None,
        max_pixels: int | None = None,
        name: str | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._label = name or _label_of(source)
        self._name = name or ""
        self._max_pixels = pixel_bound(max_pixels, self._label)
        self._value_range = check_value_range(value_range, self._label)
        self._digest: str | None = None
        self._size: tuple[int, int] | None = None
        # Exactly one of these three says where the pixels come from; `_pixels` is also where they are kept.
        self._original: Image | None = None
        self._encoded: EncodedSource | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._take(source)
        if self._encoded is not None:
            self._encoded.label = self._label
        if not self._name:
            named = self._original or self._encoded
            self._name = named.name if named is not None else self._label

    def _take(self, source: Any) -> None:
        """Fill in `_original`, `_encoded` or `_pixels`."""
        if isinstance(source, Image):
            if self._value_range is not None:
                raise image_error(
                    self._label, "no value_range for an Image", self._value_range, "give it the first time"
                )
            self._original = source
        elif isinstance(source, (str, os.PathLike)):
            self._encoded = named(os.fspath(source), self._label)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            self._encoded = BytesSource(bytes(source), self._label)
        elif isinstance(source, np.ndarray):
            self._pixels = from_array(source, self._label, self._value_range)
        elif isinstance(source, SupportsTensor):
            self._pixels = from_tensor(source, self._label, self._value_range)
        elif hasattr(source, "getexif"):
            from samovar.image.decode import pixels_of

            self._pixels = pixels_of(source, self._label, self._max_pixels, self._value_range)
        elif hasattr(source, "__array__"):  # an array of some other library, in NumPy's order of axes
            self._pixels = from_array(np.asarray(source), self._label, self._value_range)
        elif hasattr(source, "read"):
            self._encoded = BytesSource(read_all(source, self._label), self._label)
        else:
            expected = "a path, URL, bytes, Pillow image, array or tensor"
            raise image_error(self._label, expected, type(source).__name__, "pass lists as numpy.array(…, numpy.uint8)")

    @classmethod
    def _of_pixels(cls, pixels: NDArray[np.uint8], name: str) -> Image:
        """An image over read-only H×W×3 uint8 pixels that are shared, not copied."""
        image = cls.__new__(cls)
        image._lock = threading.Lock()
        image._label = image._name = name
        image._max_pixels, image._value_range = DEFAULT_MAX_PIXELS, None
        image._digest = image._size = image._original = image._encoded = None
        image._pixels = pixels
        return image

    @property
    def name(self) -> str:
        """The name given, else the file's name, else what kind of source it is. Not necessarily unique."""
        return self._name

    @property
    def path(self) -> Path | None:
        """The file it came from, None if it did not come from a file."""
        if self._original is not None:
            return self._original.path
        return self._encoded.path if self._encoded is not None else None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """H×W×3 uint8, RGB, read-only, EXIF orientation applied. Decoded on first use. Raises ImageError."""
        if self._original is not None:
            return self._original.pixels
        if self._pixels is None and self._encoded is not None:
            with self._lock:
                if self._pixels is None:
                    self._pixels = self._decode(self._encoded)
        return cast("NDArray[np.uint8]", self._pixels)

    def _decode(self, encoded: EncodedSource) -> NDArray[np.uint8]:
        from samovar.image.decode import decode

        with encoded.open() as stream:
            pixels = decode(stream, self._label, self._max_pixels, self._value_range)
        size = pixels.shape[1], pixels.shape[0]
        if self._size is not None and size != self._size:
            announced = f"{self._size[0]}×{self._size[1]} pixels as its header says"
            raise image_error(self._label, announced, f"{size[0]}×{size[1]}", "export it again as PNG or JPEG")
        self._size = size
        encoded.release()
        return pixels

    @property
    def width(self) -> int:
        """In pixels, EXIF orientation applied. Reads the header only. Raises ImageError."""
        return self._measure()[0]

    @property
    def height(self) -> int:
        """In pixels, EXIF orientation applied. Reads the header only. Raises ImageError."""
        return self._measure()[1]

    def _measure(self) -> tuple[int, int]:
        if self._original is not None:
            return self._original._measure()
        if self._size is None and self._encoded is not None:
            with self._lock:
                if self._size is None:
                    from samovar.image.decode import read_size

                    with self._encoded.open() as stream:
                        self._size = read_size(stream, self._label, self._max_pixels)
        return self._size or (self.pixels.shape[1], self.pixels.shape[0])

    @property
    def digest(self) -> str:
        """BLAKE3 (64 hex digits) of what the image shows: channel order, dtype, shape and pixels.

        Equal for equal pixels whatever file or array they came from. Every field is preceded by its length, so that
        640×480 and 480×640 images of the same bytes differ. Raises ImageError.
        """
        if self._original is not None:
            return self._original.digest
        if self._digest is None:
            self._digest = pixels_digest(self.pixels)
        return self._digest

    def file_digest(self) -> str | None:
        """BLAKE3 (64 hex digits) of the encoded file that `pixels` are or will be decoded from; it stands for them.

        None for arrays, tensors, Pillow images and crops, and for a file that has changed or gone since it was
        decoded. Before decoding, raises ImageError for a file or URL that cannot be read.
        """
        if self._original is not None:
            return self._original.file_digest()
        if self._encoded is None:
            return None
        with self._lock:
            if self._pixels is None:
                return self._encoded.digest()
            try:
                digest = self._encoded.digest()
            except ImageError:
                return None
            self._encoded.release()
            return digest

    def without_pixels(self) -> Image:
        """The same file as an image of its own, for whoever keeps images but not their pixels. Raises ImageError.

        What is known of the file is known to both; pixels live as long as the image that decoded them. Of what did not
        come from a file it is the image itself.
        """
        if self._original is not None:
            return Image(self._original.without_pixels(), name=self._name)
        if self._encoded is None:
            return self
        self._measure()
        image = Image.__new__(Image)
        for field in _FIELDS:
            setattr(image, field, getattr(self, field))
        image._lock, image._encoded, image._pixels = threading.Lock(), self._encoded.again(), None
        return image

    undecoded = renamed_method("Image.undecoded", without_pixels)

    @property
    def decoder(self) -> str:
        """Identifies how a file becomes `pixels`: with equal ones, equal files give equal pixels."""
        if self._original is not None:
            return self._original.decoder
        from samovar.image.decode import decoder_id

        return decoder_id(self._value_range)

    def crop(self, x1: SupportsIndex, y1: SupportsIndex, x2: SupportsIndex, y2: SupportsIndex) -> Image:
        """The part from (x1, y1) up to but not including (x2, y2), in whole pixels: a view, not a copy.

        Raises:
            ImageError: not integers, no area, or not inside the image.
        """
        try:
            left, top, right, bottom = (operator.index(edge) for edge in (x1, y1, x2, y2))
        except TypeError as error:
            raise image_error(self._label, "a crop in whole pixels", (x1, y1, x2, y2), "round it") from error
        pixels = self.pixels
        height, width = pixels.shape[:2]
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            expected = f"a crop x1 < x2, y1 < y2 inside {width}×{height}"
            raise image_error(self._label, expected, f"{left} {top} {right} {bottom}", "clip it to the image")
        return Image._of_pixels(pixels[top:bottom, left:right], f"{self._name}[{left},{top},{right},{bottom}]")

    def show(self) -> None:
        """Show it: below the notebook's cell, elsewhere in the system's viewer of images. Raises ImageError."""
        from samovar.image.display import show_pixels

        show_pixels(self.pixels, self._name)

    def _repr_png_(self) -> bytes:
        from samovar.image.display import preview, to_png

        return to_png(preview(self.pixels))

    def __repr__(self) -> str:
        size = self._size if self._pixels is None else self._measure()  # nothing is read for a mere look
        return f"Image({self._name!r}{f', {size[0]}×{size[1]}' if size else ''})"

    def __getstate__(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in _FIELDS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for field, value in state.items():
            setattr(self, field, value)
        if self._pixels is not None:
            self._pixels.setflags(write=False)
        self._lock = threading.Lock()


def _label_of(source: Any) -> str:
    """How messages name an image that was given no name."""
    if isinstance(source, Image):
        return source._label
    if is_url(source):
        return "data-URL" if source[:5].lower() == "data:" else without_secrets(source)
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(os.fspath(source)) or "image"
    if isinstance(source, np.ndarray):
        return "array"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "bytes"
    if isinstance(source, SupportsTensor):
        return "tensor"
    for attribute in ("filename", "name"):  # of a Pillow image; of an open file
        file = getattr(source, attribute, None)
        if isinstance(file, (str, os.PathLike)) and os.fspath(file):
            return Path(os.fsdecode(os.fspath(file))).name
    return "image"


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """An image file as a mask: H×W bool, True where it is not black, whatever its depth. Raises ImageError."""
    from samovar.image.decode import decode_mask

    source = FileSource(path)
    with source.open() as stream:
        return decode_mask(stream, source.label, pixel_bound(None, source.label))
