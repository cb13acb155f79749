"""`samovar serve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from samovar.cli.options import convert_option, model_options, with_options
from samovar.errors import InputError

__all__ = ["serve", "server_options", "start"]

Command = TypeVar("Command", bound=Callable[..., Any])


def server_options(command: Command) -> Command:
    """--host, --port and what else every server takes."""
    options = [
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all."),
        click.option("--auth", metavar="USER:PASSWORD", envvar="SAMOVAR_AUTH", show_envvar=True,
                     help="Ask every client for these."),
        click.option("--encoders", type=click.IntRange(1, 64), default=2, show_default=True,
                     help="ImageStore that are encoded at once."),
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
@server_options
@model_options
def serve(port: int, **options: Any) -> None:
    """The HTTP API, and a page to try it on, at http://HOST:PORT/.

    \b
    samovar serve --model default
    curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/embed
    """
    from samovar_adapters.serve.mounts import mounted

    start(port, options, mounted)


def start(port: int, options: dict[str, Any], routes: Callable[..., list[Any]]) -> None:
    """Serve with `server_options` and `model_options` until a signal; `routes(engine, bodies)` come on top.

    Raises:
        UnknownNameError: no such model; found out before anything listens.
        MissingExtraError: the server's packages are not installed.
    """
    from functools import partial

    from samovar.loading import load
    from samovar.plugins import find_segmenter
    from samovar.sizes import parse_bytes
    from samovar_adapters.serve.app import MAX_BODIES, create_app
    from samovar_adapters.serve.bodies import BodyLimits
    from samovar_adapters.serve.engine import Engine, Limits
    from samovar_adapters.serve.running import need_packages, run

    need_packages()
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
    run(app, host, port, as_json=as_json, quiet=quiet)


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if not user or not colon or not password:
        raise InputError("--auth must be USER:PASSWORD; got something else; both must be there")
    return user, password
