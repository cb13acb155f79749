"""One Label Studio server: its API, with either kind of token, and its tasks' pictures and videos, within bounds."""

from __future__ import annotations

import base64
import http.client
import io
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from samovar.errors import ImageError, InputError, SamovarError
from samovar.http import without_secrets
from samovar.image import parse_data_url
from samovar.sizes import format_bytes
from samovar_adapters.label_studio.tokens import Token
from samovar_adapters.serve.problems import BadGateway

__all__ = ["Client", "Unreachable"]

MAX_PICTURE = 100_000_000
MAX_VIDEO = 2_000_000_000
MAX_JSON = 64 << 20
SECONDS = 30.0
VIDEO_SECONDS = 60.0
MAX_REDIRECTS = 5
PAGE = 100

_CHUNK = 65_536
_SERVED = ("/data/", "/storage-data/", "/tasks/", "/projects/", "/api/")
_STORAGES = ("s3", "gs", "azure-blob")


class Unreachable(BadGateway):
    """Label Studio does not answer, or not as it should."""


class Client:
    """Talks to one server, and fetches from nowhere else but the hosts that were allowed by name.

    Args:
        url: of the server; None: only data: URLs and allowed hosts can be read.
        api_key: a legacy token or a personal access token (a JWT, which buys short-lived access tokens).
        allowed: other hosts, "name" or "name:port", that pictures may come from: storages and their presigned URLs.
        max_bytes, seconds: bounds of one picture.

    Raises:
        InputError: a URL that is none.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        allowed: tuple[str, ...] = (),
        max_bytes: int = MAX_PICTURE,
        seconds: float = SECONDS,
    ) -> None:
        self.url = None if url is None else url.rstrip("/")
        parts = urlsplit(self.url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"expected Label Studio's address, such as http://localhost:8080; got {url!r:.80}")
        self._host = _host(self.url) if self.url else None
        self._allowed = frozenset(one.lower() for one in allowed)
        self._token = Token(api_key)
        self.max_bytes, self.seconds = max_bytes, seconds

    @property
    def has_key(self) -> bool:
        """Whether the API can be asked for more than what is public."""
        return self.url is not None and self._token.key is not None

    # ------------------------------------------------------------------------------------------------- the API

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at `path` below the server's address. Raises Unreachable."""
        status, body = self._asked("GET", f"{path}?{urlencode(query)}" if query else path)
        if status != 200:
            raise Unreachable(f"{self.url}{path}: expected an answer; got status {status}: {body[:120]!r}")
        try:
            return json.loads(body)
        except ValueError as error:
            raise Unreachable(f"{self.url}{path}: expected JSON; got {body[:60]!r}; is it Label Studio?") from error

    def project(self, number: int) -> dict[str, Any]:
        """One project, its labelling configuration among the rest. Raises Unreachable."""
        found = self.get(f"/api/projects/{number}/")
        return dict(found)

    def tasks(self, project: int, after: int | None = None, size: int = PAGE) -> Iterator[dict[str, Any]]:
        """The tasks of a project by ascending number, `size` at a time; those above `after`, if given."""
        query: dict[str, Any] = {"project": project, "page_size": size, "fields": "task_only"}
        while True:
            above = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after or 0}
            view = {"filters": {"conjunction": "and", "items": [above]}, "ordering": ["tasks:id"]}
            answer = self.get("/api/tasks/", **query, query=json.dumps(view))
            page = answer.get("tasks", []) if isinstance(answer, dict) else answer
            yield from page
            if len(page) < size:
                return
            after = max(task["id"] for task in page)

    # ------------------------------------------------------------------------------------------------- pictures

    def picture(self, reference: str, task: int | None = None) -> bytes:
        """The encoded picture that a task's data names.

        Args:
            reference: /data/upload/…, /data/local-files/?d=…, an http, https, s3, gs or data URL.
            task: the task's number, through which Label Studio hands out what lies in its storages.

        Raises:
            ImageError: not allowed, not there, too large, too slow.
        """
        if reference[:5].lower() == "data:":
            return parse_data_url(reference)
        into = io.BytesIO()
        self._save(reference, task, into, "picture", self.max_bytes, self.seconds)
        return into.getvalue()

    def video(self, reference: str, task: int | None, into: IO[bytes]) -> None:
        """Write the video that a task's data names, in bounds of its own, to a file. Otherwise as `picture`."""
        if reference[:5].lower() == "data:":
            into.write(parse_data_url(reference))
        else:
            self._save(reference, task, into, "video", MAX_VIDEO, VIDEO_SECONDS)

    def _save(self, reference: str, task: int | None, into: IO[bytes], what: str, most: int, seconds: float) -> None:
        shown = without_secrets(reference) if "://" in reference else reference.partition("?")[0][:200]
        try:
            url = self._resolved(reference, task, shown)
            self._fetch(url, shown, into, what, most, seconds)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, SamovarError):
                raise
            raise ImageError(f"{shown}: expected a {what}; got {error}; check that Label Studio serves it") from error

    def _resolved(self, reference: str, task: int | None, shown: str) -> str:
        scheme = reference.partition("://")[0].lower() if "://" in reference else ""
        if scheme in _STORAGES and task is not None and self.url:
            encoded = base64.urlsafe_b64encode(reference.encode()).decode()
            return f"{self.url}/tasks/{int(task)}/resolve/?fileuri={quote(encoded)}"
        if reference.startswith(_SERVED) and self.url:
            return self.url + reference
        if scheme in ("http", "https"):
            self._check(reference, shown)
            return reference
        if self.url is None and reference.startswith("/"):
            raise ImageError(f"{shown}: expected to know where Label Studio is; start with --url and --api-key")
        raise ImageError(f"{shown}: expected a picture that Label Studio serves, or a data: URL; got something else")

    def _check(self, url: str, shown: str) -> None:
        parts = urlsplit(url)
        host = _host(url)
        fits = host == self._host or host in self._allowed or (parts.hostname or "").lower() in self._allowed
        if parts.scheme not in ("http", "https") or not fits or parts.username or parts.password:
            name = (parts.hostname or "?")[:100]
            raise ImageError(
                f"{shown}: pictures from {name} are not allowed; start with --allow-host {name} if they are"
            )

    def _fetch(self, url: str, shown: str, into: IO[bytes], what: str, most: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        for _ in range(MAX_REDIRECTS + 1):
            status, where = self._authorized("GET", url, into, until, most)
            if status in (301, 302, 303, 307, 308) and where:
                url = urljoin(url, where)
                self._check(url, shown)
                continue
            if status != 200:
                raise ImageError(f"{shown}: expected a {what}; got status {status}; check that Label Studio serves it")
            return
        raise ImageError(f"{shown}: expected at most {MAX_REDIRECTS} redirects; got more; check the address")

    # ------------------------------------------------------------------------------------------------- requests

    def _asked(self, method: str, path: str) -> tuple[int, bytes]:
        """Status and body."""
        if self.url is None:
            raise Unreachable("expected to know where Label Studio is; start with --url")
        try:
            answer = io.BytesIO()
            status, _ = self._authorized(method, self.url + path, answer, time.monotonic() + self.seconds, MAX_JSON)
            return status, answer.getvalue()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.url}: expected Label Studio to answer; got {error}; is it running?") from error

    def _authorized(self, method: str, url: str, into: IO[bytes], until: float, most: int) -> tuple[int, str | None]:
        """As `_send`; with the token if it is the server's address, with another if the first has ended."""
        if _host(url) != self._host:
            return self._send(method, url, into, until, most, {})
        header = self._token.header(self._refresh)
        status, where = self._send(method, url, into, until, most, header)
        if status == 401 and self._token.ended(header):
            status, where = self._send(method, url, into, until, most, self._token.header(self._refresh))
        return status, where

    def _send(
        self,
        method: str,
        url: str,
        into: IO[bytes],
        until: float,
        most: int,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> tuple[int, str | None]:
        """Status and Location of one request; the body goes to `into`. Raises OSError, HTTPException, ImageError."""
        headers = {"User-Agent": "samovar", "Connection": "close", **headers}
        parts = urlsplit(url)
        path = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe="/?&=%:,;+~!$'()*@[]")
        connection = _connection(url, max(until - time.monotonic(), 0.1))
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            into.seek(0)  # an earlier answer, of a redirect or a token that has ended, is not what was asked for
            into.truncate()
            into.writelines(_chunks(response, connection, until, most))
            return response.status, response.headers.get("Location")
        finally:
            connection.close()

    def _refresh(self, refresh: str) -> str:
        """A new access token for a personal access token."""
        until, answer = time.monotonic() + self.seconds, io.BytesIO()
        content = json.dumps({"refresh": refresh}).encode()
        url = f"{self.url}/api/token/refresh"
        status, _ = self._send("POST", url, answer, until, 1 << 20, {"Content-Type": "application/json"}, content)
        if status != 200:
            raise Unreachable(f"{self.url}: the personal access token was refused (status {status}); make a new one")
        return str(json.loads(answer.getvalue())["access"])


def _host(url: str | None) -> str:
    """Name and port, in lower case."""
    parts = urlsplit(url or "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{(parts.hostname or '').lower()}:{port}"


def _connection(url: str, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=seconds, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)


def _chunks(
    response: http.client.HTTPResponse, connection: http.client.HTTPConnection, until: float, most: int
) -> Iterator[bytes]:
    """The body, at most `most` bytes and no later than `until`, however slowly it drips."""
    announced = response.headers.get("Content-Length", "")
    size = 0
    if announced.isdigit() and int(announced) > most:
        raise ImageError(
            f"expected at most {format_bytes(most)}; got {format_bytes(int(announced))}; use a smaller one"
        )
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing more within the time it may take")
        if connection.sock is not None:
            connection.sock.settimeout(left)
        chunk = response.read1(_CHUNK)
        if not chunk:
            break
        size += len(chunk)
        if size > most:
            raise ImageError(f"expected at most {format_bytes(most)}; got more; use a smaller one")
        yield chunk
    if announced.isdigit() and size < int(announced):
        raise http.client.IncompleteRead(b"", int(announced) - size)
