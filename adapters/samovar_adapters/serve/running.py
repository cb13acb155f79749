"""uvicorn, listening: says where once it does, and stops when it is told to, after answering what it has taken on."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from samovar.errors import MissingExtraError, SamovarError
from samovar_adapters.serve.logs import configure

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["need_packages", "run"]

GRACE = 30
"""Seconds that requests under way get to finish once the server is told to stop."""

_log = logging.getLogger("samovar.serve")


def need_packages() -> None:
    """Raises MissingExtraError unless the server's packages are there."""
    try:
        import orjson  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"the server needs {error.name}; install it with: pip install 'samovar[serve]'"
        ) from error


def run(app: Starlette, host: str, port: int, *, as_json: bool = False, quiet: bool = False) -> None:
    """Serve `app` until SIGTERM or SIGINT. Raises SamovarError when it cannot listen there."""
    import uvicorn

    from samovar_adapters.serve.stopping import Server

    configure(as_json, quiet)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SamovarError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port"
        ) from error
    where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    _log.info("serving", extra={"fields": {"at": where}})
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        backlog=1024,
        http="h11",  # the one whose headers have a bound
        h11_max_incomplete_event_size=64 << 10,
    )
    with listener:
        Server(config).run(sockets=[listener])
