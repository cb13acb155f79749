"""The ASGI application: the engine's routes, those that were asked for on top, the pages, and what wraps them all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from samovar import __version__
from samovar.errors import PluginError, SamovarError, UnknownNameError
from samovar_adapters.serve.api import api_routes
from samovar_adapters.serve.http import AccessLog, BasicAuth, BodyLimits, JsonResponse, error_response

if TYPE_CHECKING:
    from samovar_adapters.serve.engine import Engine

__all__ = ["MAX_BODIES", "MAX_BODY", "RoutesOf", "create_app", "find_routes"]

MAX_BODY = 64 << 20
MAX_BODIES = 512 << 20

ROUTES = "samovar.routes"
"""The group of entry points under which packages offer routes; each names a `RoutesOf`."""

RoutesOf = Callable[["Engine", BodyLimits], Sequence[BaseRoute]]


def create_app(
    engine: Engine,
    *,
    routes: Sequence[BaseRoute] = (),
    auth: tuple[str, str] | None = None,
    bodies: BodyLimits | None = None,
) -> Starlette:
    """Everything that one server answers.

    Args:
        engine: does the work. It begins to load its model when the server starts.
        routes: more routes, such as another tool's protocol; they come before the server's own.
        auth: user and password that every request but `GET /health` must carry (HTTP basic authentication).
        bodies: the bounds of what clients may send.
    """

    async def health(request: Request) -> Response:
        return JsonResponse({"status": "UP", "model": engine.name, "ready": engine.ready, "version": __version__})

    async def metrics(request: Request) -> Response:
        page = engine.metrics.page()
        if engine.ready:
            from samovar.cache.stats import prometheus

            cache = (await engine.runtime()).cache
            page += await engine.run_io(lambda: prometheus(cache.stats()))
        return Response(page, media_type="text/plain; version=0.0.4")

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine.start_loading()
        yield
        await engine.close()

    async def refused(request: Request, error: Any) -> Response:
        return JsonResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)

    handlers: dict[Any, Any] = {SamovarError: error_response, HTTPException: refused}
    api = api_routes(engine, bodies or BodyLimits(MAX_BODY, MAX_BODIES))
    return Starlette(
        routes=[*routes, Route("/health", health), Route("/metrics", metrics), *api, *_pages()],
        middleware=[Middleware(AccessLog, metrics=engine.metrics), Middleware(BasicAuth, auth=auth)],
        exception_handlers=handlers,
        lifespan=lifespan,
    )


def find_routes(name: str) -> RoutesOf:
    """The routes that an installed package offers under `name`: called with an engine and limits, gives them.

    Raises:
        UnknownNameError: no package offers them.
        PluginError: the package that does cannot be imported.
    """
    points = {point.name: point for point in entry_points(group=ROUTES)}
    if name not in points:
        raise UnknownNameError.among("routes", name, sorted(points), "install the package that brings them")
    try:
        found: RoutesOf = points[name].load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"the routes {name!r} cannot be imported ({reason}); leave out --for {name}") from error
    return found


_PAGES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/docs": ("docs.html", "text/html"),
    "/docs.js": ("docs.js", "text/javascript"),
}
# Nothing from anywhere else, ever: images that are dropped on the page stay between the browser and this server.
_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"


def _pages() -> list[BaseRoute]:
    """The page at `/` to drop an image on, the one at `/docs` about the API, and what they load, sent as they are."""
    folder = files("samovar_adapters.serve") / "web"

    def route(path: str, name: str, kind: str) -> Route:
        content = (folder / name).read_bytes()
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

        async def send(request: Request) -> Response:
            return Response(content, media_type=kind, headers=headers)

        return Route(path, send)

    return [route(path, *page) for path, page in _PAGES.items()]
