"""The images of a folder job: which there are, read ahead of the model, and their masks given to sinks.

One bad file at a time, resumable after a kill.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from samovar.errors import Cancelled, InputError, SamovarError
from samovar.image import Image, find_images, is_pattern, is_url, name_of_url
from samovar.masks import Masks
from samovar.protocols import MaskSink

__all__ = ["Item", "Outcome", "key_of_one", "read_ahead", "run", "worklist"]

PIXEL_BYTES = 256 << 20

T = TypeVar("T")
R = TypeVar("R")


# ---------------------------------------------------------------------------------------------- which images


@dataclass(frozen=True)
class Item:
    """One image of a job: the key that its masks are kept under (unique, stable between runs), and where it lies."""

    key: str
    source: Path | str


def worklist(paths: Sequence[str]) -> tuple[list[Item], list[InputError]]:
    """The images that `paths` (files, folders, globs, URLs) name, in order, and an error for each path that names none.

    The key of a file in a folder is its path below that folder, with "/" between folders; with several folders their
    own names come before it. The key of one file alone is its name; of several, or of a pattern's, the path as typed,
    so that it does not depend on which others there are. That of a URL is the last part of its path. Where two keys
    would be equal, a number is put before the later one's suffix.
    """
    several = sum(map(_is_folder, paths)) > 1
    alone = key_of_one(paths) is not None
    found: dict[str, Item] = {}
    taken: set[str] = set()
    errors: list[InputError] = []
    for path in paths:
        try:
            for key, source in _sources(path, several, alone):
                place = str(source) if isinstance(source, str) else os.path.abspath(source)  # noqa: PTH100
                if place not in found:
                    found[place] = Item(_unused(key, taken), source)
                    taken.add(found[place].key)
        except InputError as error:  # noqa: PERF203  (one bad path must not hide the others)
            errors.append(error)
    return list(found.values()), errors


def _sources(path: str, several: bool, alone: bool) -> Iterator[tuple[str, Path | str]]:
    if is_url(path):
        yield name_of_url(path), path
        return
    root = Path(path)
    for file in find_images(path, keep_missing=True):
        if _is_folder(path):
            below = file.relative_to(root)
            yield (Path(root.resolve().name) / below if several else below).as_posix(), file
        else:
            yield file.name if alone else _as_typed(file), file


def _as_typed(file: Path) -> str:
    """A path with "/" between folders, without the root and the way up."""
    parts = Path(os.path.normpath(file)).parts
    return "/".join(part for part in parts if part not in (file.anchor, "..")) or file.name


def key_of_one(paths: Sequence[str]) -> str | None:
    """The key of the one image that `paths` can mean; None where it is several paths, a folder or a pattern."""
    if len(paths) != 1:
        return None
    (path,) = paths
    if is_url(path):
        return name_of_url(path)
    return None if _is_folder(path) or is_pattern(path) else Path(path).name


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  (unlike Path, it says no to what no file system would take)


def _unused(key: str, taken: set[str]) -> str:
    stem, dot, suffix = key.rpartition(".")
    candidate, number = key, 2
    while candidate in taken:
        candidate = f"{stem}-{number}.{suffix}" if dot else f"{key}-{number}"
        number += 1
    return candidate


# --------------------------------------------------------------------------------------------- masks to sinks


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


# ---------------------------------------------------------------------------------------------- reading ahead


def read_ahead(
    work: Iterable[T],
    read: Callable[[T, Callable[[Image], None]], R],
    *,
    readers: int,
    depth: int = 8,
    wanted: Callable[[T], bool] = lambda item: True,
) -> Generator[tuple[T, Future[R] | None], None, None]:
    """The items of `work` in order, each with the reading of its image under way.

    Args:
        read: opens an item's image, in one of `readers` threads. It is given a function that decodes an image, unless
            256 MiB of pixels wait already: then that is left to whoever uses them first.
        depth: how many items are read ahead.
        wanted: whether an item is to be read at all; None comes with one that is not.
    """
    room = _ByteSemaphore(PIXEL_BYTES)
    waiting: deque[tuple[T, Future[R] | None, list[int]]] = deque()

    def reading(item: T, taken: list[int]) -> R:
        def decode(image: Image) -> None:
            nbytes = image.width * image.height * 3
            if room.take(nbytes):
                taken.append(nbytes)
                _ = image.pixels

        return read(item, decode)

    def first_out() -> Iterator[tuple[T, Future[R] | None]]:
        item, future, taken = waiting.popleft()
        yield item, future
        room.give(sum(taken))

    with ThreadPoolExecutor(readers, thread_name_prefix="samovar-read") as pool:
        try:
            for item in work:
                taken: list[int] = []
                waiting.append((item, pool.submit(reading, item, taken) if wanted(item) else None, taken))
                if len(waiting) > depth:
                    yield from first_out()
            while waiting:
                yield from first_out()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _ByteSemaphore:
    """Bytes that may be held at once."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        with self._lock:
            fits = count <= self._left
            self._left -= count if fits else 0
            return fits

    def give(self, count: int) -> None:
        with self._lock:
            self._left += count
