"""The HTTP base: one engine that many clients share, bounds on what they send, answers, and an app to put routes into.

`samovar serve` puts a small API and a page on top; the backends for other tools are routes over the same engine:

    def routes(engine: Engine, bodies: BodyLimits) -> list[BaseRoute]: ...

Imports nothing until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.serve.app import create_app
    from samovar_adapters.serve.bodies import BodyLimits
    from samovar_adapters.serve.command import server_options, start
    from samovar_adapters.serve.engine import Engine, Limits
    from samovar_adapters.serve.pictures import ImageStore
    from samovar_adapters.serve.problems import BadGateway, Busy, NotFound, TooLarge, TooSlow
    from samovar_adapters.serve.responses import JsonResponse

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
    "server_options",
    "start",
]

__getattr__ = lazy(
    __name__,
    {
        "BadGateway": "problems",
        "BodyLimits": "bodies",
        "Busy": "problems",
        "Engine": "engine",
        "ImageStore": "pictures",
        "JsonResponse": "responses",
        "Limits": "engine",
        "NotFound": "problems",
        "TooLarge": "problems",
        "TooSlow": "problems",
        "create_app": "app",
        "server_options": "command",
        "start": "command",
    },
)
