"""The page at `/`: drop a picture, click, see the mask follow. Three files, sent as they are."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

__all__ = ["page_routes"]

_TYPES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
# Nothing from anywhere else, ever: pictures that are dropped on the page stay between the browser and this server.
_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"


def page_routes() -> list[BaseRoute]:
    """`/` and what it loads."""
    from starlette.responses import Response
    from starlette.routing import Route

    folder = files("samovar_adapters.serve") / "web"

    def route(path: str, name: str) -> Route:
        content = (folder / name).read_bytes()
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

        async def send(request: Request) -> Response:
            return Response(content, media_type=_TYPES[name], headers=headers)

        return Route(path, send)

    return [route("/", "index.html"), route("/page.css", "page.css"), route("/page.js", "page.js")]
