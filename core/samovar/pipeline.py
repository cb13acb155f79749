"""Images in, masks to sinks: decoded ahead of the model, one bad file at a time, resumable after a kill."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Literal

from samovar.errors import Cancelled, InputError, SamovarError
from samovar.image import Image
from samovar.masks import Masks
from samovar.protocols import MaskSink
from samovar.readahead import read_ahead
from samovar.worklist import Item

__all__ = ["Outcome", "run"]


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        key: the item's.
        status: "written", "skipped" (every sink already had it) or "failed".
        masks: what was written.
        error: why it failed.
    """

    key: str
    status: Literal["written", "skipped", "failed"]
    masks: Masks | None = None
    error: Exception | None = None


def run(
    work: Iterable[Item],
    segment: Callable[[Item, Image], Masks],
    sinks: Mapping[str, MaskSink],
    *,
    resume: bool = True,
    readers: int = 2,
    needs_pixels: Callable[[Image], bool] = lambda image: True,
    cancel: threading.Event | None = None,
) -> Iterator[Outcome]:
    """One outcome an item, in order. The sinks are closed at the end, whatever happens.

    An item that fails, or that a sink refuses by an InputError, is reported and the rest go on. Images are read by
    `readers` threads ahead of `segment`, at most 8 of them and 256 MiB of pixels.

    Args:
        resume: skip, without opening it, an item that every sink already has; otherwise write it anew.
        needs_pixels: whether an image's pixels will be wanted; those that will not be are not decoded ahead.
        cancel: set it to stop after the image at hand; then Cancelled is raised.
    """
    with ExitStack() as stack:
        for sink in sinks.values():
            stack.enter_context(closing(sink))
        have = {name: frozenset(sink.done() if resume else ()) for name, sink in sinks.items()}

        def wanted(item: Item) -> bool:
            return not have or any(item.key not in keys for keys in have.values())

        def read(item: Item, decode: Callable[[Image], None]) -> Image:
            image = Image(item.source, name=item.key)
            if needs_pixels(image):
                decode(image)
            return image

        for item, reading in stack.enter_context(closing(read_ahead(work, read, readers=readers, wanted=wanted))):
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped on request")
            if reading is None:
                yield Outcome(item.key, "skipped")
                continue
            missing = [sink for name, sink in sinks.items() if item.key not in have[name]]
            yield _process(item, reading, segment, missing)


def _process(
    item: Item, reading: Future[Image], segment: Callable[[Item, Image], Masks], sinks: list[MaskSink]
) -> Outcome:
    try:
        image = reading.result()
        masks = segment(item, image)
    except Cancelled:
        raise
    except SamovarError as error:
        return Outcome(item.key, "failed", error=error)
    except Exception as error:  # noqa: BLE001  (one image of thousands must not end the job)
        wrapped = SamovarError(f"{item.key}: {type(error).__name__}: {error}")
        wrapped.__cause__ = error
        return Outcome(item.key, "failed", error=wrapped)
    try:
        for sink in sinks:
            sink.write(item.key, image, masks)
    except InputError as error:  # of this image; a sink that cannot write at all (a full disk) ends the job
        return Outcome(item.key, "failed", error=error)
    return Outcome(item.key, "written", masks)
