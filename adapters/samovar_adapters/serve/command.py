"""`samovar serve`, and what every server's command takes: options, logs, and listening until a signal."""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samovar.cli.options import convert_option, model_options, with_options
from samovar.errors import InputError, MissingExtraError, SamovarError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from samovar_adapters.serve.app import RoutesOf

__all__ = ["serve", "server_options", "start"]

Command = TypeVar("Command", bound=Callable[..., Any])

GRACE = 30
"""Seconds that requests under way get to finish once the server is told to stop."""

_log = logging.getLogger("samovar.serve")


def server_options(command: Command) -> Command:
    """--host, --port and what else every server takes."""
    options = [
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all."),
        click.option("--auth", metavar="USER:PASSWORD", envvar="SAMOVAR_AUTH", show_envvar=True,
                     help="Ask every client for these."),
        click.option("--encoders", type=click.IntRange(1, 64), default=2, show_default=True,
                     help="Images that are encoded at once."),
        click.option("--timeout", "seconds", type=click.FloatRange(1, 3600), default=90.0, show_default=True,
                     help="Seconds that a request may take."),
        click.option("--max-body", default="64MiB", show_default=True, metavar="SIZE",
                     help="The largest request that is read."),
        convert_option,
        click.option("--warm-up/--no-warm-up", default=True, show_default=True,
                     help="Segment something once the model is loaded, for what it compiles on first use."),
        click.option("--json-logs", is_flag=True, help="Logs as one JSON object a line."),
        click.option("--quiet", "-q", is_flag=True, help="Log only what goes wrong."),
    ]  # fmt: skip
    return with_options(command, options)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--for", "tools", multiple=True, metavar="NAME",
              help="Answer that tool's clients, too: webui, label-studio, or what other packages bring.")  # fmt: skip
@server_options
@model_options
def serve(port: int, tools: tuple[str, ...], **options: Any) -> None:
    """The HTTP API, a page to try it on at http://HOST:PORT/, and its description at /docs.

    \b
    samovar serve --model default
    curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/embed
    """
    _need_packages()
    from samovar_adapters.serve.app import find_routes

    found = [find_routes(name) for name in dict.fromkeys(tools)]
    start(port, options, lambda engine, bodies: [route for routes in found for route in routes(engine, bodies)])


def start(port: int, options: dict[str, Any], routes: RoutesOf) -> None:
    """Serve with `server_options` and `model_options` until a signal; `routes(engine, bodies)` come on top.

    Raises:
        UnknownNameError: no such model; found out before anything listens.
        MissingExtraError: the server's packages are not installed.
    """
    from functools import partial

    from samovar.loading import load
    from samovar.plugins import find_segmenter
    from samovar.sizes import parse_bytes

    _need_packages()
    from samovar_adapters.serve.app import MAX_BODIES, create_app
    from samovar_adapters.serve.engine import Engine, Limits
    from samovar_adapters.serve.http import BodyLimits

    host, seconds, encoders = options.pop("host"), options.pop("seconds"), options.pop("encoders")
    quiet, as_json, warm_up = options.pop("quiet"), options.pop("json_logs"), options.pop("warm_up")
    auth = _pair(options.pop("auth"))
    most = parse_bytes(options.pop("max_body"))
    model = options.pop("model")
    if not Path(model).expanduser().exists():
        find_segmenter(model)
    limits = Limits(encoders=encoders, seconds=seconds)
    engine = Engine(partial(load, model, **options), name=model, limits=limits, warm_up=warm_up)
    bodies = BodyLimits(most, max(MAX_BODIES, most))
    app = create_app(engine, bodies=bodies, routes=routes(engine, bodies), auth=auth)
    _run(app, host, port, as_json=as_json, quiet=quiet)


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if not user or not colon or not password:
        raise InputError("--auth must be USER:PASSWORD; got something else; both must be there")
    return user, password


def _need_packages() -> None:
    """Raises MissingExtraError unless the server's packages are there."""
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"the server needs {error.name}; install it with: pip install 'samovar[serve]'"
        ) from error


def _run(app: Starlette, host: str, port: int, *, as_json: bool, quiet: bool) -> None:
    """Serve `app` until SIGTERM or SIGINT, and finish what is under way. Raises SamovarError if it cannot listen."""
    import uvicorn

    _log_to_stderr(as_json, quiet)
    listener = _listen(host, port)
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
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol. Without it the second packet of an answer waits
    # for the client to acknowledge the first, which on a connection that is kept open takes it 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        said = error.strerror or error
        raise SamovarError(f"cannot listen on {host}:{port}: {said}; choose another --port") from error
    return listener


# ------------------------------------------------------------------------------------------- logs


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _PlainLines(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        text = " ".join(str(value) for value in fields.values()) if record.getMessage() == "request" else ""
        named = " ".join(f"{name}={value}" for name, value in fields.items())
        line = f"samovar: {text or ' '.join(filter(None, (record.getMessage(), named)))}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _log_to_stderr(as_json: bool, quiet: bool) -> None:
    """Where the server's log goes and what it looks like. `quiet`: warnings and errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else _PlainLines())
    for name in ("samovar", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)  # requests are logged by `AccessLog`
