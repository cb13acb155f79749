"""The backend protocol: what Label Studio asks of a machine-learning backend, over HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from samovar.errors import InputError
from samovar_adapters.label_studio.ahead import Ahead
from samovar_adapters.label_studio.answers import Answers, Wishes, config_of
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.config import parse
from samovar_adapters.label_studio.pictures import TaskPictures
from samovar_adapters.label_studio.regions import draw_something

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from samovar_adapters.serve.bodies import Bodies
    from samovar_adapters.serve.engine import Engine

__all__ = ["backend_routes", "routes"]

MOST_TASKS = 1000
_NO_TRAINING = "Samovar's models are not trained from annotations; export them and train the model where it was made"


def routes(engine: Engine, bodies: Bodies) -> list[BaseRoute]:
    """For `samovar serve`: the server's address and key from LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY."""
    client = Client(os.environ.get("LABEL_STUDIO_URL") or None, os.environ.get("LABEL_STUDIO_API_KEY") or None)
    return backend_routes(engine, bodies, client, Wishes())


def backend_routes(
    engine: Engine,
    bodies: Bodies,
    client: Client,
    wishes: Wishes,
    *,
    warm_new: bool = False,
    prefetch: bool = True,
) -> list[BaseRoute]:
    """All routes of the protocol.

    Args:
        client: where pictures come from.
        warm_new: encode the pictures of tasks that a webhook announces.
        prefetch: encode the pictures of the tasks after the one that is worked on.
    """
    from starlette.routing import Route

    from samovar_adapters.serve.responses import Json

    pictures = TaskPictures(client)
    answers = Answers(engine, pictures, wishes)
    ahead = Ahead(answers, client, prefetch=prefetch)
    engine.rehearse(draw_something)

    async def setup(request: Request) -> Response:
        body = await bodies.json(request)
        if body.get("schema"):
            parse(str(body["schema"]))  # what could never be answered is said when the backend is added
        return Json({"model_version": answers.model_version})

    async def predict(request: Request) -> Response:
        body = await bodies.json(request)
        tasks = _tasks(body)
        config = config_of(body)
        drawn = _drawn(body)
        if drawn is None:
            return Json({"results": await answers.batch(tasks, config)})
        found = await answers.click(tasks[0], config, drawn)
        ahead.follow(tasks[0], _project(body.get("project")), config)
        return Json({"results": [found]})

    async def webhook(request: Request) -> Response:
        body = await bodies.json(request)
        action = str(body.get("action", ""))
        if action == "START_TRAINING":
            return Json({"error": _NO_TRAINING}, status_code=501)
        if action != "TASKS_CREATED" or not warm_new:
            return Json({"status": "ignored", "action": action[:60]})
        return Json({"status": "encoding", "tasks": _announce(body, ahead)}, status_code=202)

    async def versions(request: Request) -> Response:
        return Json({"versions": [answers.model_version]})

    async def train(request: Request) -> Response:
        return Json({"error": _NO_TRAINING}, status_code=501)

    async def nothing_to_do(request: Request) -> Response:
        await bodies.read(request)
        return Json({"status": "ok"})

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


def _announce(body: Mapping[str, Any], ahead: Ahead) -> int:
    """Hand new tasks on, however much of them the announcement tells; how many there are. Raises InputError."""
    project, tasks = body.get("project"), body.get("tasks")
    if not isinstance(project, dict) or not isinstance(tasks, list):
        raise InputError("a webhook's TASKS_CREATED must have a project and tasks")
    number = _project(project.get("id"))
    text = project.get("label_config")
    config = parse(text) if isinstance(text, str) and text else None
    whole = [task for task in tasks if isinstance(task, dict) and isinstance(task.get("data"), dict)]
    if config is not None and len(whole) == len(tasks):
        ahead.put(whole, config)
    elif number is not None:
        ids = [task.get("id") if isinstance(task, dict) else task for task in tasks]
        ahead.start_all(number, config, [one for one in ids if isinstance(one, int)])
    return len(tasks)
