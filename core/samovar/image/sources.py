"""Where encoded image bytes come from: a file, a URL, bytes that the caller has. And what they may claim to hold."""

from __future__ import annotations

import base64
import binascii
import copy
import io
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, unquote_to_bytes

from blake3 import blake3

from samovar.errors import ImageError, image_error
from samovar.http import Client, HttpError, TooSlowError, without_secrets

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "BytesSource",
    "EncodedSource",
    "FileSource",
    "fetch",
    "is_url",
    "name_of_url",
    "named",
    "parse_data_url",
    "pixel_bound",
    "read_all",
]

DEFAULT_MAX_PIXELS = 200_000_000
"""More pixels than this are refused before decoding, unless `max_pixels` or SAMOVAR_MAX_PIXELS says otherwise."""

MAX_BYTES = 100_000_000
SECONDS = 30.0

# Two characters at least: `C:\photo.jpg` is a path. `data:` needs no slashes.
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+)://|data:", re.IGNORECASE)


class EncodedSource(Protocol):
    """An image that is still encoded. Not thread-safe: `Image` calls it under its lock.

    Attributes:
        label: starts every error message about this image.
        name: short, for keys and captions.
        path: the file, where there is one.
    """

    label: str
    name: str
    path: Path | None

    def open(self) -> BinaryIO:
        """A seekable stream at its start. Raises ImageError."""

    def read(self) -> bytes:
        """All bytes. `open` gives these same bytes until `release`. Raises ImageError."""

    def digest(self) -> str:
        """BLAKE3 (64 hex digits) of what `read` gives; worked out once if that stays in memory. Raises ImageError."""

    def release(self) -> None:
        """Drop what `read` keeps in memory, if it can be had again."""

    def again(self) -> EncodedSource:
        """The same bytes for another `Image`, once they were read from. Neither waits for the other."""


class BytesSource:
    """Encoded bytes that stay in memory: the caller's own, or a URL's, fetched on first use.

    They are never released: the caller's are the only copy, and fetching again could give another image.
    """

    path: Path | None = None

    def __init__(self, data: bytes | None, label: str, url: str | None = None) -> None:
        self.label = label
        self.name = label if url is None else name_of_url(url)
        self._url = url
        self._data = data
        self._digest: str | None = None

    def open(self) -> BinaryIO:
        return io.BytesIO(self.read())

    def read(self) -> bytes:
        if self._data is None:
            self._data = fetch(self._url or "", label=self.label)
        return self._data

    def digest(self) -> str:
        self._digest = self._digest or blake3(self.read()).hexdigest()
        return self._digest

    def release(self) -> None:
        pass

    def again(self) -> BytesSource:
        return self


class FileSource:
    """A file, opened only while it is read: thousands of these may wait in a list.

    Everything that is read must come from one and the same version of the file. Otherwise the digest of the bytes
    and the digest of the pixels could describe two different images.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path | None = Path(path)
        self._file = self.path
        self.label = str(path)
        self.name = self.path.name or self.label
        self._version: tuple[int, int, int, int] | None = None
        self._held: bytes | None = None

    def open(self) -> BinaryIO:
        return self._open() if self._held is None else io.BytesIO(self._held)

    def read(self) -> bytes:
        if self._held is None:
            with self._open() as stream:
                try:
                    self._held = stream.read()
                except OSError as error:
                    raise self._unreadable(error) from error
        return self._held

    def digest(self) -> str:
        return blake3(self.read()).hexdigest()

    def release(self) -> None:
        self._held = None

    def again(self) -> FileSource:
        return copy.copy(self)

    def _open(self) -> BinaryIO:
        try:
            # Asked before opening: opening a named pipe would wait for a writer for ever.
            kind = self._file.stat().st_mode
            stream = self._file.open("rb") if stat.S_ISREG(kind) else None
        except (OSError, ValueError) as error:  # ValueError: a null character in the path
            raise self._unreadable(error) from error
        if stream is None:
            if stat.S_ISDIR(kind):
                if os.access(self._file, os.R_OK | os.X_OK):
                    raise image_error(self.label, "an image file", "a folder", "pass the files in it")
                raise image_error(self.label, "an image file", "a folder that cannot be read", "change its permissions")
            raise image_error(self.label, "an image file", "a pipe or device", "pass its bytes instead")
        found = os.fstat(stream.fileno())
        version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if self._version is not None and version != self._version:
            stream.close()
            advice = "make a new Image once nothing writes to it any more"
            raise image_error(self.label, "the file as it was first read", "a changed one", advice)
        self._version = version
        return stream

    def _unreadable(self, error: Exception) -> ImageError:
        if isinstance(error, FileNotFoundError):
            return image_error(self.label, "an image file", "no such file", "check the path")
        if isinstance(error, PermissionError):
            return image_error(self.label, "a readable file", "permission denied", "check its owner and mode")
        return image_error(
            self.label, "a readable file", getattr(error, "strerror", None) or error, "check path and disk"
        )


def named(source: str | bytes, label: str) -> EncodedSource:
    """The source behind a path or URL. Raises ImageError."""
    if isinstance(source, bytes):
        source = os.fsdecode(source)
    if not source:
        raise image_error(label, "a path or URL", "an empty string", "name a file")
    if not is_url(source):
        return FileSource(source)
    if source[:5].lower() == "data:":
        return BytesSource(parse_data_url(source, label), label)
    return BytesSource(None, label, source)


def read_all(stream: Any, label: str) -> bytes:
    """What is left of an open binary file. Raises ImageError."""
    try:
        data = stream.read()
    except (OSError, ValueError) as error:
        raise image_error(label, "a readable file object", error, "open it again") from error
    if not isinstance(data, bytes):
        raise image_error(label, "a binary file object", f"one that reads {type(data).__name__}", "open it with 'rb'")
    return data


def is_url(source: object) -> bool:
    """Whether `source` is a string that names a URL of any scheme, `data:` among them, rather than a path."""
    return isinstance(source, str) and _SCHEME.match(source) is not None


def name_of_url(url: str) -> str:
    """What to call the image at `url`: the last part of its path, else its host; "image" for a data-URL."""
    if url[:5].lower() == "data:":
        return "image"
    return unquote(without_secrets(url)).rstrip("/").rpartition("/")[2] or "image"


def parse_data_url(url: str, label: str = "data-URL") -> bytes:
    """The bytes of `data:[type][;base64],…`. Raises ImageError."""
    head, comma, body = url.partition(",")
    if not comma:
        raise image_error(label, "data:image/…;base64,…", "a data-URL without a comma", "check how it was made")
    raw = unquote_to_bytes(body)
    if not head.lower().rstrip().endswith(";base64"):
        return raw
    compact = b"".join(raw.split())
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except binascii.Error as error:
        raise image_error(label, "base64", error, "encode the image file's bytes again") from error


def fetch(url: str, *, label: str | None = None, max_bytes: int = MAX_BYTES, seconds: float = SECONDS) -> bytes:
    """The body of `url`.

    Args:
        url: http or https.
        label: starts the error messages; the URL without its secrets if not given.
        max_bytes, seconds: bounds, as `samovar.http.Client` keeps them.

    Raises:
        ImageError: any failure, the bounds among them.
    """
    shown = without_secrets(url) if label is None else label
    try:
        client = Client("image", max_bytes=max_bytes, seconds=seconds)
        response = client.get(url, headers={"Accept": "image/*,*/*;q=0.5"})
    except HttpError as error:
        advice = "download it and pass the file" if isinstance(error, TooSlowError) else error.advice
        raise image_error(shown, error.expected, error.got, advice) from error
    if not response.ok:
        status = f"status {response.status} {response.reason}"
        raise image_error(shown, "an image at this URL", status, "check the address")
    return response.body


def pixel_bound(given: int | None, label: str) -> int:
    """`given`, else SAMOVAR_MAX_PIXELS, else the default. Raises ImageError for what is no positive integer."""
    asked: Any = given if given is not None else os.environ.get("SAMOVAR_MAX_PIXELS") or DEFAULT_MAX_PIXELS
    try:
        bound = int(asked)
    except (TypeError, ValueError):
        bound = 0
    if bound < 1:
        name = "max_pixels" if given is not None else "SAMOVAR_MAX_PIXELS"
        raise image_error(label, f"{name} to be a positive integer", repr(asked), f"set e.g. {DEFAULT_MAX_PIXELS}")
    return bound
