"""Frames read ahead of whoever works on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from samovar.image import Image
from samovar_adapters.video.frames.frame import Frame

__all__ = ["read_ahead"]

_AHEAD = 4  # frames


def read_ahead(frames: Iterable[Frame], hint: Callable[[list[Image]], None], *, known: int = 0) -> Generator[Frame]:
    """The same frames, a few of them decoded in the background, in order.

    Args:
        hint: told of frames as soon as they are there, such as `Tracker.prefetch`, to encode them meanwhile.
        known: how many frames at the beginning have their masks already, and need no encoding.
    """
    source = iter(frames)
    waiting: deque[Future[Frame | None]] = deque()

    def read() -> Frame | None:
        frame = next(source, None)
        if frame is not None and frame.number >= known:
            hint([frame.image])
        return frame

    pool = ThreadPoolExecutor(1, thread_name_prefix="samovar-video")
    try:
        waiting.extend(pool.submit(read) for _ in range(_AHEAD))
        while (frame := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(read))
            yield frame
    finally:
        pool.shutdown(cancel_futures=True)
