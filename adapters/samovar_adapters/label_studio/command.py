"""`samovar label-studio`: the backend, and a project's pictures encoded ahead."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from samovar.cli.options import SETTING, json_option, model_options, quiet_option
from samovar.errors import InputError
from samovar_adapters.serve.command import server_options

__all__ = ["label_studio"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _studio_options(command: Command) -> Command:
    """Where Label Studio is."""
    options = [
        click.option("--url", metavar="URL", envvar="LABEL_STUDIO_URL", show_envvar=True,
                     help="Label Studio, such as http://localhost:8080."),
        click.option("--api-key", metavar="TOKEN", envvar="LABEL_STUDIO_API_KEY", show_envvar=True,
                     help="A legacy token or a personal access token."),
        click.option("--allow-host", "allowed", multiple=True, metavar="HOST[:PORT]",
                     help="Another host that pictures may come from, such as a bucket's."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group("label-studio", invoke_without_command=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="0: any free one.")
@_studio_options
@click.option(
    "--draw",
    type=click.Choice(["brush", "polygon", "rectangle", "ellipse", "keypoint"]),
    help="What to answer with where the labelling configuration offers several.  [default: its first]",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Pixels that a polygon's outline, or a box in a video, may be off to have fewer points.",
)
@click.option(
    "--source",
    metavar="NAME[=ARG]|every|none",
    help="What finds objects when predictions are retrieved; every: all there are.  "
    "[default: every, but none in projects with smart tools]",
)
@click.option(
    "--map",
    "mapping",
    type=SETTING,
    multiple=True,
    metavar="NAME=LABEL",
    help="A source's name for things and the label they get.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 1_000_000),
    default=300,
    show_default=True,
    help="Frames of a video through which what was drawn is followed in one go.",
)
@click.option("--warm-new", is_flag=True, help="Encode new tasks when a webhook announces them.")
@click.option("--prefetch/--no-prefetch", default=True, show_default=True, help="Encode the next tasks ahead.")
@server_options
@model_options
@click.pass_context
def label_studio(ctx: click.Context, /, port: int, **options: Any) -> None:
    """The backend for Label Studio's smart tools: a click answered in milliseconds.

    Add it to a project under Settings, Model, as http://THIS-HOST:9090, with interactive preannotations on.

    \b
    samovar label-studio --url http://localhost:8080 --api-key TOKEN
    samovar label-studio warm --project 7
    """
    if ctx.invoked_subcommand is not None:
        return
    from samovar_adapters.serve.command import start

    url, key, allowed = options.pop("url"), options.pop("api_key"), options.pop("allowed")
    kind, tolerance, source = options.pop("draw"), options.pop("tolerance"), options.pop("source")
    mapping, frames = options.pop("mapping"), options.pop("frames")
    warm_new, prefetch = options.pop("warm_new"), options.pop("prefetch")

    def routes(engine: Any, bodies: Any) -> list[Any]:
        from samovar.loading import open_source
        from samovar_adapters.label_studio.answers import Wishes
        from samovar_adapters.label_studio.client import Client
        from samovar_adapters.label_studio.routes import backend_routes

        opened = None if source in (None, "every", "none") else open_source(source)
        whole = None if source is None else source != "none"
        seconds = min(85.0, engine.limits.seconds)
        wishes = Wishes(kind, tolerance, whole, opened, dict(mapping), seconds, frames)
        client = Client(url, key, allowed=allowed)
        return backend_routes(engine, bodies, client, wishes, warm_new=warm_new, prefetch=prefetch)

    start(port, options, routes)


@label_studio.command()
@click.option("--project", type=click.IntRange(1), required=True, help="The number in the project's address.")
@_studio_options
@click.option("--batch", type=click.IntRange(1, 1024), default=8, show_default=True, help="Images a model call.")
@model_options
@json_option
@quiet_option
def warm(
    project: int,
    url: str | None,
    api_key: str | None,
    allowed: tuple[str, ...],
    batch: int,
    as_json: bool,
    quiet: bool,
    **loading: Any,
) -> int:
    """Encode the pictures of all tasks of a project ahead, overnight say.

    What is there already is skipped, so the same command goes on where it was stopped.
    """
    from samovar.loading import load
    from samovar_adapters.label_studio.client import Client
    from samovar_adapters.label_studio.project import warm_project

    if url is None:
        raise InputError("expected Label Studio's address; give --url or set LABEL_STUDIO_URL")
    if loading["cache"] == "off":
        raise InputError("there is no cache to warm with --cache off; name a folder or leave it out")
    client = Client(url, api_key, allowed=allowed)
    total, outcomes = warm_project(client, project, lambda: load(loading.pop("model"), **loading), batch)
    from tqdm import tqdm

    tally = {"encoded": 0, "present": 0, "failed": 0}
    with tqdm(outcomes, total=total, unit="image", disable=quiet or not sys.stderr.isatty()) as bar:
        for outcome in bar:
            tally[outcome.status] += 1
            line = {"image": str(outcome.source), "status": outcome.status}
            if outcome.error is not None:
                line["error"] = str(outcome.error)
                with bar.external_write_mode(file=sys.stderr):
                    click.echo(f"samovar: {outcome.source}: {outcome.error}", err=True)
            if as_json:
                click.echo(json.dumps(line))
    if not quiet:
        summary = f"{tally['encoded']} encoded, {tally['present']} there already, {tally['failed']} failed"
        click.echo(summary, err=True)
    return 1 if tally["failed"] else 0
