"""One Label Studio server: its API, with either kind of token, and its tasks' images and videos, within bounds."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from samovar import http
from samovar.errors import ImageError, InputError
from samovar.image import parse_data_url
from samovar_adapters.serve import BadGateway

__all__ = ["Client", "Unreachable"]

MAX_IMAGE = 100_000_000
MAX_VIDEO = 2_000_000_000
MAX_JSON = 64 << 20
SECONDS = 30.0
VIDEO_SECONDS = 60.0
PAGE = 100

# What Label Studio itself serves, below a prefix too: it writes FORCE_SCRIPT_NAME into the addresses of uploads.
_SERVED = re.compile(r"(?:/[\w.~-]+)*?/(?:data|storage-data|tasks|projects|api|static)/")
_STORAGES = ("s3", "s3s", "gs", "gcswif", "azure-blob", "azure-spi", "azure_spi", "redis")
_MARGIN = 30.0  # seconds before an access token ends in which another is fetched


class Unreachable(BadGateway):
    """Label Studio does not answer, or not as it should."""


class Client:
    """Talks to one server, and fetches from nowhere else but the hosts that were allowed by name.

    Args:
        url: of the server; None: only data: URLs and allowed hosts can be read.
        api_key: a legacy token or a personal access token (a JWT, which buys short-lived access tokens).
        allowed: other hosts, "name" or "name:port", that images may come from: storages and their presigned URLs.
        max_bytes, seconds: bounds of one image.

    Raises:
        InputError: a URL that is none.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        allowed: tuple[str, ...] = (),
        max_bytes: int = MAX_IMAGE,
        seconds: float = SECONDS,
    ) -> None:
        self.url = None if url is None else url.rstrip("/")
        parts = urlsplit(self.url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"expected Label Studio's address, such as http://localhost:8080; got {url!r:.80}")
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._name: str | None = parts.hostname if self.url else None
        self._host: str | None = _host(self.url) if self.url else None
        self._allowed = frozenset(one.lower() for one in allowed)
        self._token = _Token(api_key)
        self._own_name: str | None = None
        self.max_bytes, self.seconds = max_bytes, seconds

    @property
    def has_key(self) -> bool:
        """Whether the API can be asked for more than what is public."""
        return self.url is not None and self._token.key is not None

    def known_as(self, hostname: str) -> None:
        """Note the address by which Label Studio calls itself, where it may be another one than from here.

        Whatever anybody claims here, addresses that begin with it are asked of the server at `url`.
        """
        self._own_name = _host(hostname) if hostname.startswith(("http://", "https://")) else None

    # ------------------------------------------------------------------------------------------------- the API

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at `path` below the server's address. Raises Unreachable."""
        if self.url is None:
            raise Unreachable("expected to know where Label Studio is; start with --url")
        client = http.Client("answer", MAX_JSON, self.seconds, check=self._check, proxies=False)
        try:
            answer = self._ask(client, f"{self.url}{path}?{urlencode(query)}" if query else self.url + path)
        except http.HttpError as error:
            raise Unreachable(
                f"{self.url}: expected Label Studio to answer; got {error.got}; is it running?"
            ) from error
        if answer.status != 200:
            raise Unreachable(
                f"{self.url}{path}: expected an answer; got status {answer.status}: {answer.body[:120]!r}"
            )
        try:
            return answer.json()
        except http.HttpError as error:
            raise Unreachable(f"{self.url}{path}: expected JSON; got {error.got}; is it Label Studio?") from error

    def project(self, number: int) -> dict[str, Any]:
        """One project, its labelling configuration among the rest. Raises Unreachable."""
        return dict(self.get(f"/api/projects/{number}/"))

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

    # ------------------------------------------------------------------------------------------- images and videos

    def image(self, reference: str, task: int | None = None) -> bytes:
        """The encoded image that a task's data names.

        Args:
            reference: /data/upload/…, /data/local-files/?d=…, an http, https, s3, gs or data URL.
            task: the task's number, through which Label Studio hands out what lies in its storages.

        Raises:
            ImageError: not allowed, not there, too large, too slow.
            Unreachable: Label Studio refuses the token.
        """
        if reference[:5].lower() == "data:":
            return parse_data_url(reference)
        into = io.BytesIO()
        self._save(reference, task, into, "image", self.max_bytes, self.seconds)
        return into.getvalue()

    def video(self, reference: str, task: int | None, into: IO[bytes]) -> None:
        """Write the video that a task's data names, in bounds of its own, to a file. Otherwise as `image`."""
        if reference[:5].lower() == "data:":
            into.write(parse_data_url(reference))
        else:
            self._save(reference, task, into, "video", MAX_VIDEO, VIDEO_SECONDS)

    def _save(self, reference: str, task: int | None, into: IO[bytes], what: str, most: int, seconds: float) -> None:
        shown = http.without_secrets(reference) if "://" in reference else reference.partition("?")[0][:200]
        client = http.Client(what, most, seconds, check=lambda url: self._check(url, shown), proxies=False)
        try:
            answer = self._ask(client, self._resolved(reference, task, shown), into)
        except http.HttpError as error:
            large = isinstance(error, http.TooLargeError)
            advice = "use a smaller one" if large else "check that Label Studio serves it"
            raise ImageError(f"{shown}: expected {error.expected}; got {error.got}; {advice}") from error
        except (OSError, ValueError) as error:  # an address that cannot be taken apart, or a disk that is full
            raise ImageError(f"{shown}: expected a {what}; got {error}; check that Label Studio serves it") from error
        if answer.status == 401:
            raise Unreachable(f"{shown}: Label Studio refused the token, or wants one (status 401); check --api-key")
        if answer.status != 200:
            advice = "check that Label Studio serves it"
            raise ImageError(f"{shown}: expected a {what}; got status {answer.status}; {advice}")

    def _resolved(self, reference: str, task: int | None, shown: str) -> str:
        scheme = reference.partition("://")[0].lower() if "://" in reference else ""
        if scheme in ("http", "https"):
            if self.url and self._own_name == _host(reference) != self._host:
                return self._resolved(reference[reference.index("/", len(scheme) + 3) :], task, shown)
            return reference
        if self.url is None and reference.startswith("/"):
            raise ImageError(f"{shown}: expected to know where Label Studio is; start with --url and --api-key")
        if self.url and scheme in _STORAGES and task is not None:
            encoded = base64.urlsafe_b64encode(reference.encode()).decode()
            return f"{self.url}/tasks/{int(task)}/resolve/?fileuri={quote(encoded)}"
        served = _SERVED.match(reference)
        if self.url and served is not None:
            has_prefix = served[0].count("/") > 2
            return (self._origin if has_prefix else self.url) + reference
        raise ImageError(f"{shown}: expected an image that Label Studio serves, or a data: URL; got something else")

    def _check(self, url: str, shown: str | None = None) -> None:
        """Refuse what is neither the server, nor that host over https (where it redirects to), nor allowed."""
        parts = urlsplit(url)
        name, host = (parts.hostname or "").lower(), _host(url)
        fits = self._is_server(url) or host in self._allowed or name in self._allowed
        if parts.scheme not in ("http", "https") or not fits or parts.username or parts.password:
            told = name[:100] or "?"
            raise ImageError(
                f"{shown or told}: images from {told} are not allowed; start with --allow-host {told} if they are"
            )

    # ------------------------------------------------------------------------------------------------- requests

    def _is_server(self, url: str) -> bool:
        parts = urlsplit(url)
        return _host(url) == self._host or (parts.scheme == "https" and parts.hostname == self._name)

    def _ask(self, client: http.Client, url: str, into: IO[bytes] | None = None) -> http.Response:
        """GET; with the token where the server itself is asked, and with another if that has ended meanwhile.

        Raises: HttpError, ImageError for an address that is not allowed, and Unreachable.
        """
        header: dict[str, str] = {}

        def authorize(url: str) -> dict[str, str]:
            nonlocal header
            header = self._token.header(self._refresh) if self._is_server(url) else {}
            return header

        client = replace(client, authorize=authorize)
        answer = client.get(url, into=into)
        if answer.status == 401 and self._token.ended(header):
            answer = client.get(url, into=into)
        return answer

    def _refresh(self, refresh: str) -> str:
        """A new access token for a personal access token. Raises Unreachable."""
        client = http.Client("token", 1 << 20, self.seconds, proxies=False)
        try:
            answer = client.request("POST", f"{self.url}/api/token/refresh", json={"refresh": refresh})
            if answer.status == 200:
                return str(answer.json()["access"])
        except http.HttpError as error:
            raise Unreachable(
                f"{self.url}: expected Label Studio to answer; got {error.got}; is it running?"
            ) from error
        raise Unreachable(f"{self.url}: the personal access token was refused (status {answer.status}); make a new one")


class _Token:
    """Either kind of token, as the header that it makes.

    Args:
        key: a legacy token, sent as it is, or a personal access token: a JWT, which buys access tokens of some minutes.
            What a copied header has before it is left out.
    """

    def __init__(self, key: str | None) -> None:
        self.key = re.sub(r"^(token|bearer)\s+", "", key.strip(), flags=re.IGNORECASE) or None if key else None
        self._access: str | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def header(self, refresh: Callable[[str], str]) -> dict[str, str]:
        """The header that a request carries; `refresh(key)` buys an access token where one is needed."""
        if self.key is None:
            return {}
        if self.key.count(".") != 2:
            return {"Authorization": f"Token {self.key}"}
        with self._lock:
            if self._access is None or time.time() > self._until - _MARGIN:
                self._access = refresh(self.key)
                self._until = _expiry(self._access)
            return {"Authorization": f"Bearer {self._access}"}

    def ended(self, refused: Mapping[str, str]) -> bool:
        """Note that the server refused this header; whether another access token may help.

        Many requests may be refused with one header. The first of them drops its token, the others must not drop the
        token that was bought in the meantime.
        """
        authorization = refused.get("Authorization", "")
        with self._lock:
            if authorization == f"Bearer {self._access}":
                self._access = None
        return authorization.startswith("Bearer ")


def _expiry(token: str) -> float:
    """When a JWT ends, in seconds since 1970; its signature is the server's business."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return time.time() + 60


def _host(url: str | None) -> str:
    """Name and port, in lower case."""
    parts = urlsplit(url or "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{(parts.hostname or '').lower()}:{port}"
