"""The pictures of tasks: fetched once, kept for a while, never mixed up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from samovar.errors import ImageError
from samovar.image import Image
from samovar_adapters.label_studio.client import Client
from samovar_adapters.serve.pictures import Pictures

__all__ = ["TaskPictures", "reference_of"]

KEPT_BYTES = 256 << 20
KEPT_SECONDS = 600.0
FETCHERS = 16


def reference_of(task: Mapping[str, Any], key: str, item: int = 0) -> str:
    """What the task's data says under `key`: a picture's address, or the one of several. Raises ImageError."""
    data = task.get("data")
    found = data.get(key) if isinstance(data, Mapping) else None
    if isinstance(found, list):
        found = found[item] if 0 <= item < len(found) else None
    if not isinstance(found, str) or not found:
        raise ImageError(f"task {task.get('id')}: expected a picture in data.{key:.60}; got {found!r:.60}")
    return found


class TaskPictures:
    """Fetches with a client, each address once at a time, and keeps the encoded files.

    An address stands for its picture for ten minutes; after that it is fetched again. What it turns out to show decides
    which embedding is used, never the address.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._kept = Pictures(KEPT_BYTES, KEPT_SECONDS)
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="samovar-fetch")
        self._fetching: dict[str, asyncio.Task[bytes]] = {}

    async def get(self, reference: str, task: int | None = None) -> Image:
        """The picture. Raises ImageError."""
        if reference[:5].lower() == "data:":
            return Image(await self._fetch(reference, task), name="data-URL")
        image = self._kept.get(reference)
        if image is not None:
            return image
        fetching = self._fetching.get(reference)
        if fetching is None:
            fetching = self._fetching[reference] = asyncio.create_task(self._fetch(reference, task))
            fetching.add_done_callback(lambda done: self._forget(reference, done))
        data = await asyncio.shield(fetching)
        image = Image(data, name=_name(reference))
        self._kept.put(reference, image, len(data))
        return image

    async def _fetch(self, reference: str, task: int | None) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._fetchers, lambda: self.client.picture(reference, task))

    def _forget(self, reference: str, done: asyncio.Task[bytes]) -> None:
        self._fetching.pop(reference, None)
        if not done.cancelled():
            done.exception()  # whoever waits has it; with nobody waiting it is nobody's


def _name(reference: str) -> str:
    return reference.partition("?")[0].rstrip("/").rpartition("/")[2] or "picture"
