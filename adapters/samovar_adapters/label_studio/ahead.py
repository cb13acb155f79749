"""Pictures encoded before anybody clicks on them: those of new tasks, and of the tasks that come next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from samovar.errors import SamovarError
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.config import Config, parse

if TYPE_CHECKING:
    from samovar_adapters.label_studio.answers import Answers

__all__ = ["Ahead"]

NEXT = 3
"""Tasks that are encoded while the one before them is worked on."""
MOST = 10_000
"""Tasks that may wait; of more at once, the rest is left to `samovar label-studio warm`."""

_log = logging.getLogger("samovar.label_studio")


class Ahead:
    """Works through tasks one at a time, so that a click always finds an encoder free. Lives on one event loop."""

    def __init__(self, answers: Answers, client: Client, *, prefetch: bool = True) -> None:
        self._answers, self._client, self._prefetch = answers, client, prefetch
        self._waiting: dict[int, tuple[Mapping[str, Any], Config]] = {}
        self._seen: set[int] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None

    def follow(self, task: Mapping[str, Any], project: int | None, config: Config) -> None:
        """An annotator works on `task`: the ones after it come next. Each task is looked up once."""
        number = task.get("id")
        if not (self._prefetch and self._client.has_key and isinstance(number, int) and project is not None):
            return
        if number not in self._seen:
            if len(self._seen) >= MOST:
                self._seen.clear()
            self._seen.add(number)
            self._start(self._look_up(project, number, config))

    def put(self, tasks: Sequence[Mapping[str, Any]], config: Config) -> None:
        """Encode the pictures of these tasks, in order, when nothing else is waiting here."""
        for task in tasks[: max(MOST - len(self._waiting), 0)]:
            if isinstance(task.get("id"), int):
                self._waiting[task["id"]] = (task, config)
        if self._waiting and self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def project(self, number: int) -> Config:
        """The labelling configuration of a project, asked of the server. Raises SamovarError."""
        found = await asyncio.to_thread(self._client.project, number)
        return parse(str(found.get("label_config", "")))

    def start_all(self, project: int, config: Config | None, numbers: Sequence[int]) -> None:
        """Encode the pictures of tasks of which only the numbers are known."""
        self._start(self._look_up_all(project, config, numbers))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _look_up(self, project: int, after: int, config: Config) -> None:
        try:
            following = await asyncio.to_thread(lambda: list(islice(self._client.tasks(project, after, NEXT), NEXT)))
        except SamovarError as error:
            _log.warning("next tasks unknown", extra={"fields": {"project": project, "error": str(error)}})
            return
        self.put(following, config)

    async def _look_up_all(self, project: int, config: Config | None, numbers: Sequence[int]) -> None:
        try:
            config = config or await self.project(project)
            for number in numbers:
                self.put([await asyncio.to_thread(self._client.get, f"/api/tasks/{number}/")], config)
        except SamovarError as error:
            _log.warning("new tasks unknown", extra={"fields": {"project": project, "error": str(error)}})

    async def _work(self) -> None:
        while self._waiting:
            number = next(iter(self._waiting))
            task, config = self._waiting.pop(number)
            try:
                await self._answers.embed(task, config)
                _log.info("encoded ahead", extra={"fields": {"task": number}})
            except SamovarError as error:
                _log.warning("not encoded ahead", extra={"fields": {"task": number, "error": str(error)}})
            except Exception as error:  # noqa: BLE001  (one picture must not end the work on the others)
                _log.error("not encoded ahead", extra={"fields": {"task": number}}, exc_info=error)
        self._worker = None
