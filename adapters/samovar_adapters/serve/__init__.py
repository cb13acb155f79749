"""The HTTP base: one engine that many clients share, bounds on what they send, answers, and an app to put routes into.

`samovar serve` puts a small API and a page on top; the backends for other tools are routes over the same engine:

    def routes(engine: Engine, bodies: BodyLimits) -> list[BaseRoute]: ...

Imports nothing until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.serve.api import ImageStore
    from samovar_adapters.serve.app import create_app, find_routes
    from samovar_adapters.serve.command import server_options, start
    from samovar_adapters.serve.engine import Engine, Limits
    from samovar_adapters.serve.http import BadGateway, BodyLimits, Busy, JsonResponse, NotFound, TooLarge, TooSlow

__all__ = [
    "BadGateway",
    "BodyLimits",
    "Busy",
    "Engine",
    "ImageStore",
    "JsonResponse",
    "Limits",
    "NotFound",
    "TooLarge",
    "TooSlow",
    "create_app",
    "find_routes",
    "server_options",
    "start",
]

__getattr__ = lazy(
    __name__,
    {
        "BadGateway": "http",
        "BodyLimits": "http",
        "Busy": "http",
        "Engine": "engine",
        "ImageStore": "api",
        "JsonResponse": "http",
        "Limits": "engine",
        "NotFound": "http",
        "TooLarge": "http",
        "TooSlow": "http",
        "create_app": "app",
        "find_routes": "app",
        "server_options": "command",
        "start": "command",
    },
)
