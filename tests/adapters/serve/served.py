"""A server in this process, over segmenters simple enough to predict."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image as Pillow
from starlette.testclient import TestClient

from samovar import Embedding, Image, Runtime
from samovar_adapters.serve import BodyLimits, Engine, Limits, create_app
from tests.fakes import FilledBoxes
from tests.hostile import encoded

__all__ = ["SlowRed", "client_of", "engine_of", "flat", "until"]


class SlowRed(FilledBoxes):
    """Encodes pictures that are red only once it is allowed to; all others at once."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = threading.Event()
        self.waiting = 0

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        if any(image.pixels[0, 0, 0] > 200 for image in images):
            with self._lock:
                self.waiting += 1
            assert self.allowed.wait(20)
        return super().encode(images)


async def until(reached: Callable[[], object], seconds: float = 20.0) -> None:
    """Let others on the event loop work until it is so. Raises TimeoutError."""

    async def look() -> None:
        while not reached():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), seconds)


def flat(red: int, green: int = 0, width: int = 60, height: int = 40) -> bytes:
    """A PNG of one colour."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:] = red, green, 0
    return encoded(Pillow.fromarray(pixels), "PNG")


def engine_of(segmenter: FilledBoxes, limits: Limits | None = None, cache: str | None = None) -> Engine:
    """An engine over `segmenter`, with a cache in memory unless one is named."""
    from samovar.cache import Cache, MemoryTier

    held = Cache([MemoryTier(64 << 20)], admission="always") if cache is None else Cache.open(cache)
    return Engine(lambda: Runtime(segmenter, name="boxes", cache=held), name="boxes", limits=limits)


@contextmanager
def client_of(
    engine: Engine, *, routes: Sequence[Any] = (), auth: tuple[str, str] | None = None, most: int = 1 << 20
) -> Iterator[TestClient]:
    """A client of the running server; an error inside the server is an answer, as it is over a network."""
    app = create_app(engine, routes=routes, auth=auth, bodies=BodyLimits(most, 4 * most))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
