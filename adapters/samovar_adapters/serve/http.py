"""What every route stands on: errors and the status they have, bounded bodies, answers in JSON, and what wraps them.

The middlewares are plain ASGI: a request passes two functions, and no task of its own is started for it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from samovar.errors import DeviceError, InputError, MissingExtraError, SamovarError, WeightsError
from samovar.schema import read
from samovar.sizes import format_bytes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "AccessLog",
    "BadGateway",
    "BasicAuth",
    "BodyLimits",
    "Busy",
    "JsonResponse",
    "Metrics",
    "NotFound",
    "TooLarge",
    "TooSlow",
    "error_response",
    "status_of",
]

T = TypeVar("T")

_log = logging.getLogger("samovar.serve")


class JsonResponse(Response):  # type: ignore[misc]
    """An answer in JSON, of anything that msgspec writes: plain values and `samovar.schema` types."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """UTF-8. Raises TypeError for what is not JSON."""
        return msgspec.json.encode(content)


# ------------------------------------------------------------------------------------------- errors


class BadGateway(SamovarError):
    """Another server, which this one needs for its answer, does not answer as it should."""


class Busy(SamovarError):
    """More work is waiting than the server will hold."""


class NotFound(InputError):
    """An image that the server does not have, or no longer."""


class TooLarge(InputError):
    """A request body beyond the bound."""


class TooSlow(SamovarError):
    """It took longer than a request may; the work goes on, so asking again is worth while."""


_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (BadGateway, 502),
    (Busy, 503),
    (NotFound, 404),
    (TooLarge, 413),
    (TooSlow, 504),
    (InputError, 400),
    (MissingExtraError, 503),
    (WeightsError, 503),
    (DeviceError, 503),
)


def status_of(error: Exception) -> int:
    """The HTTP status that says what kind of error it is."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def error_response(request: Request, error: Exception) -> JsonResponse:
    """The answer to a request that failed: one line of JSON with the fitting status, never a traceback."""
    status = status_of(error)
    if status == 500:
        # The details are for the log; a client learns nothing from them and a stranger might.
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        message = str(error) if isinstance(error, SamovarError) else "an error inside the server; its log says more"
    else:
        message = str(error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return JsonResponse({"error": message}, status_code=status, headers=headers)


# ------------------------------------------------------------------------------------------- bodies


class BodyLimits:
    """Reads bodies of at most `each` bytes, and holds at most `together` bytes of unfinished ones."""

    def __init__(self, each: int, together: int) -> None:
        self.each, self.together = each, together
        self._held = 0

    async def read(self, request: Request, limit: int | None = None) -> bytes:
        """The whole body. Raises TooLarge, as soon as that is known, and Busy."""
        most = min(self.each, limit or self.each)
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                if self._held + len(part) > self.together:
                    raise Busy("too many uploads at once; try again in a moment")
                self._held += len(part)
                size += len(part)
                parts.append(part)
                if size > most:
                    raise _too_large(most)
        finally:
            self._held -= size
        return b"".join(parts)

    async def json(self, request: Request, limit: int | None = None) -> dict[str, Any]:
        """The body as a JSON object. Raises InputError, TooLarge and Busy."""
        given: dict[str, Any] = await self.json_as(request, dict[str, Any], limit)
        return given

    async def json_as(self, request: Request, kind: type[T], limit: int | None = None) -> T:
        """The body as a type of `samovar.schema`. Raises InputError with the place of a mistake, TooLarge and Busy."""
        return read(await self.read(request, limit), kind)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"expected a body of at most {format_bytes(most)}; got more; send a smaller image")


# ------------------------------------------------------------------------------------------- metrics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0)


class Metrics:
    """What one server counts, for Prometheus. In a registry of its own: a process may have several servers."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()

        def seconds(name: str, summary: str) -> Histogram:
            return Histogram(f"samovar_{name}_seconds", summary, registry=own, buckets=_SECONDS)

        self.requests = Counter("samovar_requests", "Requests by route and status", ["route", "status"], registry=own)
        self.request_seconds = seconds("request", "Time to answer a request")
        self.encode_seconds = seconds("encode", "Time to encode an image")
        self.decode_seconds = seconds("decode", "From an embedding to its masks, waiting included")
        self.batch_sizes = Histogram(
            "samovar_decode_batch", "Requests that one decode answered", registry=own, buckets=(1, 2, 4, 8, 16, 32, 64)
        )

    def page(self) -> str:
        """All of it, in Prometheus' text format."""
        text: bytes = generate_latest(self.registry)
        return text.decode()


# ------------------------------------------------------------------------------------------- middlewares


class AccessLog:
    """Logs and counts every request; answers one that ends in an unexpected error, so that none goes without."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0
        began = time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note)
        except Exception as error:
            if status:
                raise  # half of an answer is out; only closing the connection says that the rest will not come
            await error_response(Request(scope), error)(scope, receive, note)
        finally:
            seconds = time.perf_counter() - began
            self.metrics.requests.labels(_route(scope), str(status or 499)).inc()
            self.metrics.request_seconds.observe(seconds)
            fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1e3, 1)}
            _log.info("request", extra={"fields": fields})


class BasicAuth:
    """HTTP basic authentication for everything but `GET /health`, which says nothing that a stranger may not know."""

    def __init__(self, app: ASGIApp, auth: tuple[str, str] | None) -> None:
        self.app = app
        self.wanted = None if auth is None else ":".join(auth).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        open_to_all = self.wanted is None or scope["type"] != "http" or scope["path"] == "/health"
        if open_to_all or hmac.compare_digest(_credentials(scope), self.wanted or b""):
            await self.app(scope, receive, send)
            return
        headers = {"WWW-Authenticate": 'Basic realm="samovar"'}
        answer = JsonResponse({"error": "expected this server's user and password"}, status_code=401, headers=headers)
        await answer(scope, receive, send)


def _credentials(scope: Scope) -> bytes:
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    kind, _, encoded = given.partition(b" ")
    if kind.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return b""


def _route(scope: Scope) -> str:
    """The route's own path: what strangers ask for must not become thousands of labels."""
    routes: list[Any] = getattr(scope.get("app"), "routes", [])
    path = scope["path"]
    for route in routes:
        own = getattr(route, "path", None)
        if own is not None and (path == own or (own and path.startswith(f"{own}/"))):
            return str(own)
    return "other"
