"""Warming: encode many images ahead of time, whatever is wrong with some of them, and however often it is run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samovar.errors import Cancelled, SamovarError
from samovar.image import Image

if TYPE_CHECKING:
    from samovar.cache.cache import Cache
    from samovar.protocols import Segmenter

__all__ = ["Warmed", "warm"]

WINDOW_BYTES = 128 << 20
"""Pixels that may wait in memory, decoded, for the model."""


@dataclass(frozen=True)
class Warmed:
    """What became of one image.

    Attributes:
        source: the path or URL, as given.
        status: "encoded", "present" (it was there already) or "failed".
        error: why it failed.
    """

    source: Path | str
    status: Literal["encoded", "present", "failed"]
    error: Exception | None = None


@dataclass(frozen=True)
class _Read:
    source: Path | str
    image: Image | None = None
    present: bool = False
    error: Exception | None = None

    @property
    def nbytes(self) -> int:
        return self.image.width * self.image.height * 3 if self.image is not None else 0


def warm(
    sources: Iterable[Path | str],
    cache: Cache,
    segmenter: Segmenter,
    *,
    model: str | None = None,
    batch: int = 8,
    readers: int = 2,
    cancel: threading.Event | None = None,
) -> Iterator[Warmed]:
    """Put the embedding of every image into `cache`; one `Warmed` each, not necessarily in order.

    What is there already is not even decoded. Files are read and decoded by `readers` threads ahead of the model. Two
    runs over the same images share the work: neither encodes what the other is encoding.

    Args:
        sources: paths or URLs.
        batch: how many images the segmenter is given at once.
        cancel: set it to stop after the batch at hand; then Cancelled is raised.
    """
    with ThreadPoolExecutor(readers, thread_name_prefix="samovar-read") as pool:
        window: list[_Read] = []
        for read in _ahead(sources, cache, segmenter, pool, depth=2 * batch):
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped on request; what was encoded is kept")
            if read.error is not None:
                yield Warmed(read.source, "failed", read.error)
            elif read.present:
                yield Warmed(read.source, "present")
            else:
                window.append(read)
                if len(window) >= batch or sum(item.nbytes for item in window) > WINDOW_BYTES:
                    yield from _encode(window, cache, segmenter, model, batch)
                    window = []
        yield from _encode(window, cache, segmenter, model, batch)


def _ahead(
    sources: Iterable[Path | str], cache: Cache, segmenter: Segmenter, pool: ThreadPoolExecutor, depth: int
) -> Iterator[_Read]:
    """The images in order, a few of them read in advance."""

    def read(source: Path | str) -> _Read:
        try:
            image = Image(source)
            if cache.holds(image, segmenter):
                return _Read(source, present=True)
            _ = image.digest  # decodes, and hashes, off the thread that feeds the model
            return _Read(source, image)
        except SamovarError as error:
            return _Read(source, error=error)

    waiting: deque[Future[_Read]] = deque()
    for source in sources:
        waiting.append(pool.submit(read, source))
        if len(waiting) >= depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _encode(window: list[_Read], cache: Cache, segmenter: Segmenter, model: str | None, batch: int) -> Iterator[Warmed]:
    images = [item.image for item in window if item.image is not None]
    if not images:
        return
    try:
        found = cache.get_or_encode(images, segmenter, encode_batch=batch, model=model, placement="always")
    except Exception as error:  # noqa: BLE001  (one image that the model cannot take must not cost the others)
        if len(window) == 1:
            yield Warmed(window[0].source, "failed", _named(error, images[0]))
            return
        for item in window:
            yield from _encode([item], cache, segmenter, model, batch)
        return
    for item, hit in zip(window, found.hits):
        yield Warmed(item.source, "present" if hit else "encoded")


def _named(error: Exception, image: Image) -> SamovarError:
    if isinstance(error, SamovarError):
        return error
    named = SamovarError(f"{image.name}: {type(error).__name__}: {error}")
    named.__cause__ = error
    return named
