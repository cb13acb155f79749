"""The one way out to the network: requests bounded in bytes, in total time and in redirects; http and https only.

Over urllib3, which knows connections, certificates and proxies but has no bound of these three kinds: its time limits
start afresh with every byte (a server that drips would hold the caller for hours), and a name lookup has none at all.

Who may be asked is the caller's to say, with `Client.check`, which sees every address before it is asked, each redirect
included. An address is never part of an error's message: it may hold tokens. `without_secrets` makes one that can be.
"""

from __future__ import annotations

import re
import string
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from json import dumps, loads
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from samovar.errors import SamovarError, one_line

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager
    from urllib3.connection import HTTPConnection

__all__ = ["BrokenOffError", "Client", "HttpError", "Response", "TooLargeError", "TooSlowError", "without_secrets"]

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)

_CHUNK = 65_536
_MAX_REFUSAL = 65_536  # bytes read of an answer that is no success: enough to tell what the server has to say
_WEB = ("http", "https")


class HttpError(SamovarError):
    """A request without a usable answer. Callers word their own error of its parts, and add the address.

    Attributes:
        expected, got, advice: the parts of the message, "expected …, got …; …". None of them holds a secret.
    """

    def __init__(self, expected: str, got: object, advice: str = "check the address") -> None:
        self.expected, self.got, self.advice = expected, one_line(got, 200), advice
        super().__init__(f"expected {expected}, got {self.got}; {advice}")


class TooLargeError(HttpError):
    """The body announced more than `Client.max_bytes`, or grew past them."""


class TooSlowError(HttpError):
    """Not done within `Client.seconds`, or nothing came for `Client.idle_seconds`."""


class BrokenOffError(HttpError):
    """The connection ended before the body did.

    Attributes:
        received: bytes of the body that came; in a download, of the whole file that are there.
        total: bytes that it should have been, None if the server did not say.
    """

    def __init__(self, what: str, received: int, total: int | None, reason: str) -> None:
        self.received, self.total = received, total
        whole = f"{received:,} bytes" if total is None else f"{received:,} of {total:,} bytes"
        super().__init__(f"the whole {what}", f"{whole} before {reason}", "try again")


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        status, reason: such as 404 and "Not Found".
        headers: by name, in any case.
        body: empty where it was written to a file. Of an answer that is no success, its first 64 KiB.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON. Raises HttpError."""
        try:
            return loads(self.body)
        except ValueError as error:
            raise HttpError("JSON", repr(self.body[:60])) from error


@dataclass(frozen=True)
class Client:
    """Bounds and rules for requests. Holds no connection: every request opens and closes its own.

    Attributes:
        what: what is asked for, in messages: "the whole image within 30 s".
        max_bytes: a longer body is refused, as soon as it announces itself or grows past the bound. None: any length.
        seconds: for everything together: name lookup, connecting, redirects and the last byte. None: as long as it
            takes, with never more than `idle_seconds` between two bytes.
        max_redirects: so many are followed, to http and https only.
        check: called with every address before it is asked; raises what it likes to refuse one.
        authorize: called with every address; the headers that this host alone may see, such as Authorization.
        proxies: whether the proxies that the environment names (`https_proxy`, `no_proxy`, …) are used.
    """

    what: str = "answer"
    max_bytes: int | None = None
    seconds: float | None = None
    idle_seconds: float = 60.0
    max_redirects: int = MAX_REDIRECTS
    check: Callable[[str], object] | None = None
    authorize: Callable[[str], Mapping[str, str]] | None = None
    proxies: bool = True

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        json: Any = None,
        into: IO[bytes] | None = None,
    ) -> Response:
        """One request, redirects followed. Any status is an answer: whether it is a good one is for the caller to say.

        Args:
            headers: sent to every host on the way. For secrets see `authorize`.
            body, json: what is sent: bytes, or a value that is sent as JSON.
            into: where the body of a success is written; it is in the response if not given.

        Raises:
            HttpError: any failure, the bounds among them.
        """
        sent = dict(headers or {})
        if json is not None:
            body, sent["Content-Type"] = dumps(json).encode(), "application/json"
        return self._within(_Exchange(self, method, url, sent, body, lambda response: (into, 0)))

    def get(self, url: str, **options: Any) -> Response:
        """A GET request; see `request`."""
        return self.request("GET", url, **options)

    def download(self, url: str, path: Path, *, headers: Mapping[str, str] | None = None) -> Response:
        """GET the file at `url` into `path`; what is there of it already is continued, if the server can do that.

        What came stays in the file also where this raises, so that the next call goes on from there. Status 416 means
        that nothing is missing. With another status that is no success the file is left as it is.

        Raises:
            HttpError: any failure, the bounds among them; BrokenOffError says how far it got.
            OSError: the file cannot be written.
        """
        have = path.stat().st_size if path.exists() else 0
        sent = {**(headers or {}), **({"Range": f"bytes={have}-"} if have else {})}

        def place(response: BaseHTTPResponse) -> tuple[IO[bytes], int]:
            goes_on = re.match(rf"bytes {have}-|$", response.headers.get("Content-Range", "")) is not None
            if response.status == 206 and not goes_on:
                raise HttpError(f"the rest of the {self.what} from byte {have:,}", "another part", "try again")
            start = have if response.status == 206 else 0  # else the server sends the whole file again
            file = path.open("r+b" if start else "wb")
            file.seek(start)
            return file, start

        exchange = _Exchange(self, "GET", url, sent, None, place)
        try:
            return self._within(exchange)
        finally:
            exchange.close()

    def _within(self, exchange: _Exchange) -> Response:
        """What the exchange gives, in at most `seconds`."""
        if self.seconds is None:
            return exchange.run()
        # A thread of its own, which can be left behind where it waits for a name or a byte.
        from concurrent.futures import Future
        from concurrent.futures import TimeoutError as FutureTimeout

        result: Future[Response] = Future()

        def run() -> None:
            try:
                result.set_result(exchange.run())
            except BaseException as error:  # noqa: BLE001  # whatever it is, the caller waits for it
                result.set_exception(error)

        threading.Thread(target=run, name="samovar-http", daemon=True).start()
        try:
            return result.result(timeout=self.seconds)
        except FutureTimeout:
            raise exchange.too_slow() from None
        finally:
            exchange.abort()


@dataclass
class _Exchange:
    """One request with its redirects; can be broken off from another thread.

    Attributes:
        place: where the body of a success goes, None for memory; and how many bytes of the file are there before it.
    """

    client: Client
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    place: Callable[[BaseHTTPResponse], tuple[IO[bytes] | None, int]]
    until: float = field(init=False)
    redirected: bool = field(default=False, init=False)
    aborted: bool = field(default=False, init=False)
    connection: HTTPConnection | None = field(default=None, init=False)
    file: IO[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.until = time.monotonic() + (float("inf") if self.client.seconds is None else self.client.seconds)

    def abort(self) -> None:
        """Break off whatever the thread waits for, so that it ends soon."""
        import socket

        self.aborted = True
        waiting = self.connection.sock if self.connection is not None else None
        if waiting is not None:
            with suppress(OSError):  # closed in the meantime, which is all that was wanted
                waiting.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the file that `place` opened."""
        if self.file is not None:
            self.file.close()

    def too_slow(self) -> TooSlowError:
        seconds, what = self.client.seconds, self.client.what
        if seconds is None:
            return TooSlowError(f"the {what}", f"nothing for {self.client.idle_seconds:g} s", "check the network")
        return TooSlowError(f"the whole {what} within {seconds:g} s", "none or only a part of it", "try again later")

    def run(self) -> Response:
        """Raises HttpError, what `check`, `authorize` and `place` raise, and OSError of the file."""
        for _ in range(self.client.max_redirects + 1):
            response, target = self._asked()
            if target is None:
                return response
            self.url, self.redirected = urljoin(self.url, target), True
            if response.status == 303 or (response.status in (301, 302) and self.method == "POST"):
                self.method, self.body = "GET", None
        raise HttpError(f"at most {self.client.max_redirects} redirects", "more")

    def _asked(self) -> tuple[Response, str | None]:
        """The answer of one host; or, with an empty body, where it redirects to."""
        url = self._checked()
        headers = {"User-Agent": "samovar", "Accept-Encoding": "identity", "Connection": "close", **self.headers}
        if self.client.authorize is not None:
            headers |= self.client.authorize(self.url)
        try:
            response = self._opened(url, headers)
        except SamovarError:
            raise
        except Exception as error:  # anything may go wrong between here and a stranger's server
            raise self._failed(error) from error
        try:
            target = response.headers.get("Location") if response.status in REDIRECTS else None
            body = b"" if target else self._body(response)  # that of a redirect may be endless, and nobody reads it
        finally:
            response.close()
        return Response(response.status, response.reason or "", response.headers, body), target

    def _checked(self) -> str:
        """The address as it is sent. Raises HttpError for what is not to be asked."""
        scheme = self.url.partition(":")[0].lower()
        if scheme not in _WEB:
            if self.redirected:
                raise HttpError("a redirect to http or https", f"one to {scheme!r:.40}")
            raise HttpError("an http or https URL", f"scheme {scheme!r:.40}", "pass a local file as a path")
        if "@" in re.split(r"[/?#\\]", self.url.partition("//")[2], maxsplit=1)[0]:
            raise HttpError("a URL without user and password", "one with them", "download it and pass the file")
        if self.client.check is not None:
            self.client.check(self.url)
        # Addresses are pasted with spaces and letters of every alphabet; http carries only the encoded form.
        return quote(self.url, safe=string.punctuation)

    def _manager(self) -> PoolManager:
        """Makes connections that `abort` finds."""
        import ssl
        from urllib.request import getproxies, proxy_bypass

        from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, make_headers
        from urllib3.connection import HTTPConnection, HTTPSConnection

        exchange = self

        class Plain(HTTPConnection):
            def connect(self) -> None:
                exchange.remember(self)
                super().connect()

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                exchange.remember(self)
                super().connect()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        parts = urlsplit(self.url)
        scheme, host = parts.scheme.lower(), parts.netloc
        proxy = getproxies().get(scheme) if self.client.proxies and not proxy_bypass(host) else None
        context = ssl.create_default_context() if scheme == "https" else None
        manager: PoolManager
        if proxy is None:
            manager = PoolManager(1, ssl_context=context)
        else:
            account = unquote(urlsplit(proxy if "://" in proxy else f"http://{proxy}").netloc.rpartition("@")[0])
            told = make_headers(proxy_basic_auth=account) if account else {}
            manager = ProxyManager(proxy, 1, proxy_headers=told, ssl_context=context)
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
        return manager

    def remember(self, connection: HTTPConnection) -> None:
        """Note the connection that is about to be made. Raises TooSlowError if the caller has given up already."""
        self.connection = connection
        if self.aborted:
            raise self.too_slow()

    def _opened(self, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        from urllib3 import Timeout

        left = self.until - time.monotonic()
        if left <= 0:
            raise self.too_slow()
        wait = min(left, self.client.idle_seconds)
        return self._manager().urlopen(
            self.method,
            url,
            redirect=False,
            retries=False,
            headers=headers,
            body=self.body,
            timeout=Timeout(connect=wait, read=wait),
            preload_content=False,
            decode_content=False,
            enforce_content_length=False,  # told here, with how much came
        )

    def _body(self, response: BaseHTTPResponse) -> bytes:
        """The body, if it is not written to a file."""
        success = 200 <= response.status < 300
        into, size = self.place(response) if success else (None, 0)
        self.file = into
        announced, limit = response.headers.get("Content-Length", ""), self.client.max_bytes
        total = size + int(announced) if announced.isdigit() and self.method != "HEAD" else None
        if success and limit is not None and total is not None and total > limit:
            raise self._too_large(f"{total:,}")
        parts: list[bytes] = []
        while chunk := self._chunk(response, size, total):
            size += len(chunk)
            if not success and size > _MAX_REFUSAL:
                return b"".join(parts)
            if success and limit is not None and size > limit:
                raise self._too_large("more")
            if self.aborted or time.monotonic() > self.until:
                raise self.too_slow()
            if into is None:
                parts.append(chunk)
            else:
                into.write(chunk)
        if total is not None and size < total:
            raise BrokenOffError(self.client.what, size, total, "the connection closed")
        return b"".join(parts)

    def _chunk(self, response: BaseHTTPResponse, received: int, total: int | None) -> bytes:
        try:
            # read1 returns with what one receive gave; read would wait for a full chunk, one drop at a time.
            return response.read1(_CHUNK)
        except Exception as error:  # as in `_asked`
            raise self._failed(error, received, total) from error

    def _too_large(self, size: str) -> TooLargeError:
        return TooLargeError(f"at most {self.client.max_bytes:,} bytes", size, "download it and pass the file")

    def _failed(self, error: Exception, received: int | None = None, total: int | None = None) -> HttpError:
        reason = _root(error)
        if isinstance(reason, TimeoutError) or time.monotonic() >= self.until or self.aborted:
            return self.too_slow()  # whichever of the two clocks ran out first
        name = type(reason).__name__
        said = getattr(reason, "strerror", None) or str(reason)
        told = said if isinstance(reason, OSError) and said and not said.startswith("Remote end") else f"{name}: {said}"
        if received is not None:
            return BrokenOffError(self.client.what, received, total, told)
        return HttpError(f"the {self.client.what} at this URL", told)


def _root(error: BaseException) -> BaseException:
    """What lies below urllib3's wrappers, whose own words name the host and objects in memory."""
    from urllib3.exceptions import HTTPError

    while isinstance(error, HTTPError):
        inner = [one for one in (*error.args, error.__cause__, error.__context__) if isinstance(one, BaseException)]
        if not inner:
            break
        error = inner[0]
    return error


def without_secrets(url: str) -> str:
    """`url` without user, password, query and fragment, which may hold tokens: safe in messages and file names."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # a malformed address; the part before any token is all there is to show
        return re.split(r"[?#]", url, maxsplit=1)[0].rpartition("@")[2][:200]
    return f"{parts.scheme}://{host}{port}{parts.path}"
