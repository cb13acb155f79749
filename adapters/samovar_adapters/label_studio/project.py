"""All pictures of a project, encoded ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.cache.warm import Warmed, warm
from samovar.errors import InputError
from samovar.image import Image
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.config import parse

if TYPE_CHECKING:
    from samovar.runtime import Runtime

__all__ = ["warm_project"]


def warm_project(client: Client, project: int, load: Callable[[], Runtime], batch: int) -> tuple[int, Iterator[Warmed]]:
    """How many pictures there are, about, and one outcome for each. Two readers fetch ahead of the model.

    Raises:
        Unreachable: Label Studio does not answer, or has no such project.
        InputError: its labelling configuration has no images.
    """
    found = client.project(project)
    config = parse(str(found.get("label_config", "")))
    if not config.images:
        raise InputError(f"project {project} has no images; only those are encoded ahead")
    total = int(found.get("task_number") or 0) * len(config.images)
    tasks_of: dict[str, int] = {}

    def references() -> Iterator[str]:
        for task in client.tasks(project):
            for key in config.images.values():
                value = (task.get("data") or {}).get(key)
                for reference in value if isinstance(value, list) else [value]:
                    tasks_of[str(reference)] = int(task["id"])
                    yield str(reference)

    def read(source: Path | str) -> Image:
        reference = str(source)
        # Once read it is not asked for again; what is kept must not grow with the project.
        data = client.picture(reference, tasks_of.pop(reference, None))
        return Image(data, name=reference.partition("?")[0].rpartition("/")[2] or "picture")

    def outcomes() -> Iterator[Warmed]:
        runtime = load()
        yield from warm(references(), runtime.cache, runtime.segmenter, model=runtime.name, batch=batch, opened=read)
        runtime.cache.flush()

    return total, outcomes()
