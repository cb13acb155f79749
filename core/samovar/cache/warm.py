"""Warming: encode many images ahead of time, whatever is wrong with some of them, and however often it is run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samovar.deprecation import renamed_names
from samovar.errors import Cancelled, SamovarError
from samovar.image import Image
from samovar.pipeline import read_ahead

if TYPE_CHECKING:
    from concurrent.futures import Future

    from samovar.cache.cache import Cache
    from samovar.protocols import Segmenter

__all__ = ["WarmResult", "warm"]

__getattr__ = renamed_names(__name__, {"Warmed": "samovar.cache.warm.WarmResult"})

WINDOW_BYTES = 128 << 20
"""Pixels that may wait in memory, decoded, for a batch to be full."""

Source = Path | str


@dataclass(frozen=True)
class WarmResult:
    """What became of one image.

    Attributes:
        source: the path or URL, as given.
        status: "encoded", "present" (it was there already) or "failed".
        error: why it failed.
    """

    source: Source
    status: Literal["encoded", "present", "failed"]
    error: Exception | None = None


def warm(
    sources: Iterable[Source],
    cache: Cache,
    segmenter: Segmenter,
    *,
    model: str | None = None,
    batch: int = 8,
    readers: int = 2,
    opened: Callable[[Source], Image] = Image,
    cancel: threading.Event | None = None,
) -> Iterator[WarmResult]:
    """Put the embedding of every image into `cache`; one `WarmResult` each, not necessarily in order.

    What is there already is not even decoded. Files are read and decoded by `readers` threads ahead of the model. Two
    runs over the same images share the work: neither encodes what the other is encoding.

    Args:
        sources: paths or URLs.
        batch: how many images the segmenter is given at once.
        opened: makes the image of one of `sources`, in a reader's thread, where that takes more than `Image`.
        cancel: set it to stop after the batch at hand; then Cancelled is raised.

    Raises:
        CacheError: an embedding was made but not kept (the disk is full, say): nor would the next one be.
        Cancelled: on request.
    """

    def read(source: Source, decode: Callable[[Image], None]) -> Image | None:
        """The image, or None for one whose embedding is there."""
        image = opened(source)
        if cache.keeps(image, segmenter):
            return None
        decode(image)
        return image

    window: list[tuple[Source, Image]] = []
    with closing(read_ahead(sources, read, readers=readers, depth=2 * batch)) as reads:
        for source, reading in reads:
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped on request; what was encoded is kept")
            image, error = _result(source, reading)
            if error is not None:
                yield WarmResult(source, "failed", error)
            elif image is None:
                yield WarmResult(source, "present")
            else:
                window.append((source, image))
                if len(window) >= batch or sum(one.width * one.height * 3 for _, one in window) > WINDOW_BYTES:
                    yield from _encode(window, cache, segmenter, model)
                    window = []
        yield from _encode(window, cache, segmenter, model)


def _encode(
    window: list[tuple[Source, Image]], cache: Cache, segmenter: Segmenter, model: str | None
) -> Iterator[WarmResult]:
    if not window:
        return
    images = [image for _, image in window]
    try:
        found = cache.get_or_encode(images, segmenter, encode_batch=len(images), model=model, admission="always")
    except Exception as error:  # noqa: BLE001  (one image that the model cannot take must not cost the others)
        if len(window) == 1:
            yield WarmResult(window[0][0], "failed", _named(error, window[0][0]))
            return
        for pair in window:
            yield from _encode([pair], cache, segmenter, model)
        return
    cache.check_writable(segmenter)
    for (source, _), hit in zip(window, found.hits):
        yield WarmResult(source, "present" if hit else "encoded")


def _result(source: Source, reading: Future[Image | None] | None) -> tuple[Image | None, SamovarError | None]:
    try:
        return (reading.result() if reading is not None else None), None
    except Exception as error:  # noqa: BLE001  (one image of thousands must not end the job)
        return None, _named(error, source)


def _named(error: Exception, source: Source) -> SamovarError:
    if isinstance(error, SamovarError):
        return error
    named = SamovarError(f"{source}: {type(error).__name__}: {error}")
    named.__cause__ = error
    return named
