"""The backend: what Label Studio asks of one over HTTP, and the command that serves it or encodes a project queue."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samovar.cli.options import SETTING, json_option, model_options, quiet_option
from samovar.errors import InputError
from samovar_adapters.label_studio.config import KINDS, parse
from samovar_adapters.serve import server_options

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from samovar.cache.warm import WarmResult
    from samovar.image import Image
    from samovar.runtime import Runtime
    from samovar_adapters.label_studio.client import Client
    from samovar_adapters.label_studio.predictor import BackendOptions, PrefetchQueue
    from samovar_adapters.serve import BodyLimits, Engine

__all__ = ["backend_routes", "label_studio", "routes", "warm_project"]

Command = TypeVar("Command", bound=Callable[..., Any])

MOST_TASKS = 1000
_NO_TRAINING = "Samovar's models are not trained from annotations; export them and train the model where it was made"


def routes(engine: Engine, bodies: BodyLimits) -> list[BaseRoute]:
    """For `samovar serve --for`: the address and key of Label Studio from LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY."""
    from samovar_adapters.label_studio.client import Client
    from samovar_adapters.label_studio.predictor import BackendOptions

    client = Client(os.environ.get("LABEL_STUDIO_URL") or None, os.environ.get("LABEL_STUDIO_API_KEY") or None)
    return backend_routes(engine, bodies, client, BackendOptions())


def backend_routes(
    engine: Engine,
    bodies: BodyLimits,
    client: Client,
    options: BackendOptions,
    *,
    warm_new: bool = False,
    prefetch: bool = True,
) -> list[BaseRoute]:
    """All routes of the protocol.

    Args:
        client: where images come from.
        warm_new: encode the images of tasks that a webhook announces.
        prefetch: encode the images of the tasks after the one that is worked on.
    """
    from starlette.routing import Route

    from samovar_adapters.label_studio.predictor import Predictor, PrefetchQueue, TaskImages, config_of
    from samovar_adapters.label_studio.regions import draw_something
    from samovar_adapters.serve import JsonResponse

    predictor = Predictor(engine, TaskImages(client), options)
    queue = PrefetchQueue(predictor, client, prefetch=prefetch)
    engine.warm_up(draw_something)

    async def setup(request: Request) -> Response:
        body = await bodies.json(request)
        if body.get("schema"):
            parse(str(body["schema"]))  # what could never be answered is said when the backend is added
        client.known_as(str(body.get("hostname") or ""))
        return JsonResponse({"model_version": predictor.model_version})

    async def predict(request: Request) -> Response:
        body = await bodies.json(request)
        tasks = _tasks(body)
        config = config_of(body)
        drawn = _drawn(body)
        if drawn is None:
            return JsonResponse({"results": await predictor.batch(tasks, config)})
        found = await predictor.click(tasks[0], config, drawn)
        queue.follow(tasks[0], _project(body.get("project")), config)
        return JsonResponse({"results": [found]})

    async def webhook(request: Request) -> Response:
        body = await bodies.json(request)
        action = str(body.get("action", ""))
        if action == "START_TRAINING":
            return JsonResponse({"error": _NO_TRAINING}, status_code=501)
        if action != "TASKS_CREATED" or not warm_new:
            return JsonResponse({"status": "ignored", "action": action[:60]})
        return JsonResponse({"status": "encoding", "tasks": _announce(body, queue)}, status_code=202)

    async def versions(request: Request) -> Response:
        return JsonResponse({"versions": [predictor.model_version]})

    async def train(request: Request) -> Response:
        return JsonResponse({"error": _NO_TRAINING}, status_code=501)

    async def nothing_to_do(request: Request) -> Response:
        await bodies.read(request)
        return JsonResponse({"status": "ok"})

    return [
        Route("/setup", setup, methods=["POST"]),
        Route("/predict", predict, methods=["POST"]),
        Route("/webhook", webhook, methods=["POST"]),
        Route("/versions", versions),
        Route("/train", train, methods=["POST"]),
        Route("/validate", nothing_to_do, methods=["POST"]),
        Route("/delete", nothing_to_do, methods=["POST"]),
    ]


def _tasks(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        raise InputError("tasks must be a list of at least one task")
    if len(tasks) > MOST_TASKS:
        raise InputError(f"at most {MOST_TASKS} tasks a request; got {len(tasks)}; send several requests")
    return tasks


def _drawn(body: Mapping[str, Any]) -> list[Any] | None:
    """What the annotator has drawn; None for a request for whole predictions. Raises InputError."""
    params = body.get("params") or {}
    context = params.get("context") if isinstance(params, dict) else None
    if not context:
        return None
    result = context.get("result") if isinstance(context, dict) else None
    if not isinstance(result, list):
        raise InputError(f"params.context.result must be a list of regions; got {type(result).__name__}")
    return result or None


def _project(given: Any) -> int | None:
    """The number in "7.1690000000", "7" or 7."""
    head = str(given).partition(".")[0]
    return int(head) if head.isdecimal() and len(head) < 18 else None


def _announce(body: Mapping[str, Any], queue: PrefetchQueue) -> int:
    """Hand new tasks on, however much of them the announcement tells; how many there are. Raises InputError."""
    project, tasks = body.get("project"), body.get("tasks")
    if not isinstance(project, dict) or not isinstance(tasks, list):
        raise InputError("a webhook's TASKS_CREATED must have a project and tasks")
    number = _project(project.get("id"))
    text = project.get("label_config")
    config = parse(text) if isinstance(text, str) and text else None
    whole = [task for task in tasks if isinstance(task, dict) and isinstance(task.get("data"), dict)]
    if config is not None and len(whole) == len(tasks):
        queue.put(whole, config)
    elif number is not None:
        ids = [task.get("id") if isinstance(task, dict) else task for task in tasks]
        queue.start_all(number, config, [one for one in ids if isinstance(one, int)])
    return len(tasks)


def warm_project(
    client: Client, project: int, load: Callable[[], Runtime], batch: int
) -> tuple[int, Iterator[WarmResult]]:
    """How many images there are, about, and one outcome for each. Two readers fetch ahead of the model.

    Raises:
        Unreachable: Label Studio does not answer, or has no such project.
        InputError: its labelling configuration has no images.
    """
    from samovar.cache.warm import warm
    from samovar.errors import ImageError
    from samovar.image import Image

    found = client.project(project)
    config = parse(str(found.get("label_config", "")))
    if not config.images:
        raise InputError(f"project {project} has no images; only those are encoded ahead")
    total = int(found.get("task_number") or 0) * len(config.images)
    tasks_of: dict[str, int] = {}

    def references() -> Iterator[str]:
        for task in client.tasks(project):
            for tag in config.of_task(task).images.values():
                try:
                    found = tag.references(task)
                except ImageError:
                    found = [""]  # which is said when it is read
                for reference in found:
                    tasks_of[reference] = int(task["id"])
                    yield reference

    def read(source: Path | str) -> Image:
        reference = str(source)
        # Once read it is not asked for again; what is kept must not grow with the project.
        data = client.image(reference, tasks_of.pop(reference, None))
        return Image(data, name=reference.partition("?")[0].rpartition("/")[2] or "image")

    def outcomes() -> Iterator[WarmResult]:
        runtime = load()
        yield from warm(references(), runtime.cache, runtime.segmenter, model=runtime.name, batch=batch, opened=read)
        runtime.cache.flush()

    return total, outcomes()


# ------------------------------------------------------------------------------------------------- the command


def _studio_options(command: Command) -> Command:
    """Where Label Studio is."""
    options = [
        click.option("--url", metavar="URL", envvar="LABEL_STUDIO_URL", show_envvar=True,
                     help="Label Studio, such as http://localhost:8080."),
        click.option("--api-key", metavar="TOKEN", envvar="LABEL_STUDIO_API_KEY", show_envvar=True,
                     help="A legacy token or a personal access token."),
        click.option("--allow-host", "allowed", multiple=True, metavar="HOST[:PORT]",
                     help="Another host that images may come from, such as a bucket's."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group("label-studio", invoke_without_command=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="0: any free one.")
@_studio_options
@click.option(
    "--draw",
    type=click.Choice(KINDS),
    help="What to answer with where the labelling configuration offers several.  [default: its first that draws areas]",
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
    from samovar_adapters.serve import start

    url, key, allowed = options.pop("url"), options.pop("api_key"), options.pop("allowed")
    kind, tolerance, source = options.pop("draw"), options.pop("tolerance"), options.pop("source")
    mapping, frames = options.pop("mapping"), options.pop("frames")
    warm_new, prefetch = options.pop("warm_new"), options.pop("prefetch")

    def routes(engine: Any, bodies: Any) -> list[Any]:
        from samovar.loading import open_source
        from samovar_adapters.label_studio.client import Client
        from samovar_adapters.label_studio.predictor import BackendOptions

        opened = None if source in (None, "every", "none") else open_source(source)
        whole = None if source is None else source != "none"
        seconds = min(85.0, engine.limits.seconds)
        answering = BackendOptions(kind, tolerance, whole, opened, dict(mapping), seconds, frames)
        client = Client(url, key, allowed=allowed)
        return backend_routes(engine, bodies, client, answering, warm_new=warm_new, prefetch=prefetch)

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
    """Encode the images of all tasks of a project ahead, overnight say.

    What is there already is skipped, so the same command goes on where it was stopped.
    """
    from samovar.loading import load
    from samovar_adapters.label_studio.client import Client

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
