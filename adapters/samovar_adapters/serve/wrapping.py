"""What wraps every request: its line in the log, its place in the metrics, its last resort, and the password."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from samovar_adapters.serve.metrics import Metrics

__all__ = ["Guard", "Journal"]

_log = logging.getLogger("samovar.serve")


class Journal:
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
            from starlette.requests import Request

            from samovar_adapters.serve.problems import problem

            await problem(Request(scope), error)(scope, receive, note)
        finally:
            seconds = time.perf_counter() - began
            self.metrics.requests.add(route=_route(scope), status=str(status or 499))
            self.metrics.request_seconds.observe(seconds)
            fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1e3, 1)}
            _log.info("request", extra={"fields": fields})


class Guard:
    """HTTP basic authentication for everything but `GET /health`, which says nothing that a stranger may not know."""

    def __init__(self, app: ASGIApp, auth: tuple[str, str] | None) -> None:
        self.app = app
        self.wanted = None if auth is None else ":".join(auth).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        open_to_all = self.wanted is None or scope["type"] != "http" or scope["path"] == "/health"
        if open_to_all or hmac.compare_digest(_credentials(scope), self.wanted or b""):
            await self.app(scope, receive, send)
            return
        from samovar_adapters.serve.responses import JsonResponse

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
