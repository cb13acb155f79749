"""The ASGI application: the engine's routes, whoever else's were given, and what wraps them all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from samovar.errors import SamovarError
from samovar_adapters.serve.api import api_routes
from samovar_adapters.serve.bodies import BodyLimits
from samovar_adapters.serve.metrics import CONTENT_TYPE
from samovar_adapters.serve.page import page_routes
from samovar_adapters.serve.problems import problem
from samovar_adapters.serve.wrapping import Guard, Journal

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from samovar_adapters.serve.engine import Engine

__all__ = ["MAX_BODIES", "MAX_BODY", "create_app"]

MAX_BODY = 64 << 20
MAX_BODIES = 512 << 20


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
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from samovar import __version__
    from samovar_adapters.serve.responses import JsonResponse

    async def health(request: Request) -> Response:
        return JsonResponse({"status": "UP", "model": engine.name, "ready": engine.ready, "version": __version__})

    async def metrics(request: Request) -> Response:
        page = engine.metrics.page()
        if engine.ready:
            from samovar.cache.metrics import prometheus

            cache = (await engine.runtime()).cache
            page += await engine.run_io(lambda: prometheus(cache))
        return PlainTextResponse(page, headers={"Content-Type": CONTENT_TYPE})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine.start_loading()
        yield
        await engine.close()

    async def refused(request: Request, error: Any) -> Response:
        return JsonResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)

    handlers: dict[Any, Any] = {SamovarError: problem, HTTPException: refused}
    bodies = bodies or BodyLimits(MAX_BODY, MAX_BODIES)
    own = [Route("/health", health), Route("/metrics", metrics), *api_routes(engine, bodies), *page_routes()]
    return Starlette(
        routes=[*routes, *own],
        middleware=[Middleware(Journal, metrics=engine.metrics), Middleware(Guard, auth=auth)],
        exception_handlers=handlers,
        lifespan=lifespan,
    )
