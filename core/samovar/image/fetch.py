"""Image bytes from URLs: bounded in size, in total time and in redirects; http, https and data only."""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import re
import socket
import string
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import IO, Any, ClassVar
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from samovar.errors import ImageError
from samovar.image.problem import problem

__all__ = [
    "MAX_BYTES",
    "MAX_REDIRECTS",
    "SECONDS",
    "fetch",
    "is_url",
    "name_of_url",
    "parse_data_url",
    "without_secrets",
]

MAX_BYTES = 100_000_000
SECONDS = 30.0
MAX_REDIRECTS = 5

_CHUNK = 65_536
_WEB = ("http", "https")
# Two characters at least: `C:\photo.jpg` is a path. `data:` needs no slashes.
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+)://|data:", re.IGNORECASE)


def is_url(source: object) -> bool:
    """Whether `source` is a string that names a URL of any scheme, `data:` among them, rather than a path."""
    return isinstance(source, str) and _SCHEME.match(source) is not None


def without_secrets(url: str) -> str:
    """`url` without user, password, query and fragment, which may hold tokens: safe in messages and file names."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # a malformed address; the part before any token is all there is to show
        return re.split(r"[?#]", url, maxsplit=1)[0].rpartition("@")[2][:200]
    return f"{parts.scheme}://{host}{port}{parts.path}"


def name_of_url(url: str) -> str:
    """What to call the image at `url`: the last part of its path, else its host; "image" for a data-URL."""
    if url[:5].lower() == "data:":
        return "image"
    return unquote(without_secrets(url)).rstrip("/").rpartition("/")[2] or "image"


def parse_data_url(url: str, label: str = "data-URL") -> bytes:
    """The bytes of `data:[type][;base64],…`. Raises ImageError."""
    head, comma, body = url.partition(",")
    if not comma:
        raise problem(label, "data:image/…;base64,…", "a data-URL without a comma", "check how it was made")
    raw = unquote_to_bytes(body)
    if not head.lower().rstrip().endswith(";base64"):
        return raw
    compact = b"".join(raw.split())
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except binascii.Error as error:
        raise problem(label, "base64", error, "encode the image file's bytes again") from error


def fetch(url: str, *, label: str | None = None, max_bytes: int = MAX_BYTES, seconds: float = SECONDS) -> bytes:
    """The body of `url`.

    Args:
        url: http or https. Redirects are followed to these two schemes only, at most `MAX_REDIRECTS` times.
        label: starts the error messages; the URL without its secrets if not given.
        max_bytes: a longer body is refused, as soon as it announces itself or grows past the bound.
        seconds: for everything together: name lookup, connecting, redirects and the last byte.

    Raises:
        ImageError: any failure, the bounds among them.
    """
    shown = without_secrets(url) if label is None else label
    scheme = url.partition(":")[0].lower()
    if scheme not in _WEB:
        raise problem(shown, "an http or https URL", f"scheme {scheme!r}", "pass a local file as a path")
    if "@" in re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]:
        raise problem(shown, "a URL without user and password", "one with them", "download it and pass the file")
    # Addresses are pasted with spaces and letters of every alphabet; http carries only the encoded form.
    transfer = _Transfer(quote(url, safe=string.punctuation), shown, max_bytes, seconds)
    result: Future[bytes] = Future()
    # A thread of its own, because a socket's time limit starts afresh with every byte (a server that drips would hold
    # the caller for hours) and a name lookup has none at all.
    threading.Thread(target=transfer.run, args=(result,), name="samovar-fetch", daemon=True).start()
    try:
        return result.result(timeout=seconds)
    except FutureTimeout:
        raise transfer.too_slow() from None
    finally:
        transfer.abort()


class _Transfer:
    """One download: does the work in its thread, and can be broken off from another."""

    def __init__(self, url: str, label: str, max_bytes: int, seconds: float) -> None:
        self._url = url
        self._label = label
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._aborted = False
        self._connection: http.client.HTTPConnection | None = None

    def run(self, result: Future[bytes]) -> None:
        try:
            result.set_result(self._download())
        except ImageError as error:
            result.set_exception(error)
        except urllib.error.HTTPError as error:
            error.close()
            result.set_exception(self._failed(f"status {error.code} {error.reason}"))
        except urllib.error.URLError as error:
            result.set_exception(self._failed(error.reason))
        # Anything may go wrong between here and a stranger's server; the caller must always get an answer.
        except Exception as error:  # noqa: BLE001
            result.set_exception(self._failed(error))

    def abort(self) -> None:
        """Break off whatever the thread waits for, so that it ends soon."""
        self._aborted = True
        waiting = self._connection.sock if self._connection is not None else None
        if waiting is not None:
            with contextlib.suppress(OSError):  # closed in the meantime, which is all that was wanted
                waiting.shutdown(socket.SHUT_RDWR)

    def too_slow(self) -> ImageError:
        within = f"the whole image within {self._seconds:g} s"
        return problem(self._label, within, "none or only a part of it", "download it and pass the file")

    def _failed(self, reason: object) -> ImageError:
        if isinstance(reason, TimeoutError) or time.monotonic() >= self._until:
            return self.too_slow()  # whichever of the two clocks ran out first
        return problem(self._label, "an image at this URL", reason, "check the address")

    def _too_large(self, size: str) -> ImageError:
        return problem(self._label, f"at most {self._max_bytes:,} bytes", size, "download it and pass the file")

    def _download(self) -> bytes:
        opener = urllib.request.build_opener(_Redirects(self._label), _Http(self), _Https(self))
        request = urllib.request.Request(self._url, headers={"User-Agent": "samovar", "Accept": "image/*,*/*;q=0.5"})
        parts: list[bytes] = []
        size = 0
        with opener.open(request, timeout=self._seconds) as response:
            announced = response.headers.get("Content-Length", "")
            if announced.isdigit() and int(announced) > self._max_bytes:
                raise self._too_large(f"{int(announced):,}")
            # read1 returns with what one receive gave; read would wait for a full chunk, one drop at a time
            while chunk := response.read1(_CHUNK):
                size += len(chunk)
                if size > self._max_bytes:
                    raise self._too_large("more")
                if self._aborted or time.monotonic() > self._until:
                    raise self.too_slow()
                parts.append(chunk)
        if announced.isdigit() and size < int(announced):
            raise self._failed(f"{size:,} of {int(announced):,} bytes before the connection closed")
        return b"".join(parts)

    def connect(self, kind: type[http.client.HTTPConnection]) -> Callable[..., http.client.HTTPConnection]:
        """Makes connections of that kind, remembered so that `abort` finds their socket."""

        def connection(host: str, **options: Any) -> http.client.HTTPConnection:
            if self._aborted:
                raise self.too_slow()
            self._connection = kind(host, **options)
            return self._connection

        return connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, transfer: _Transfer) -> None:
        super().__init__()
        self._transfer = transfer

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._transfer.connect(http.client.HTTPConnection), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, transfer: _Transfer) -> None:
        super().__init__()
        self._transfer = transfer

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._transfer.connect(http.client.HTTPSConnection), request)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only: urllib by itself would also follow one to ftp."""

    max_redirections: ClassVar[int] = MAX_REDIRECTS

    def __init__(self, label: str) -> None:
        self._label = label

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        fp.close()  # urllib would read this answer's body to its end, however long, before going on
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in _WEB:
            raise problem(self._label, "a redirect to http or https", f"one to {scheme!r}", "check the address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
