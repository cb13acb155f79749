"""SAMOVAR_TRACE_PLUGINS: a line on standard error for each plugin loaded and each hook called."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Tracer", "one_line"]


class Tracer:
    """Writes what plugins do and how long it takes; silent unless `enabled`."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Report `what` with its time, or with the whole traceback of what it raised."""
        if not self.enabled:
            yield
            return
        started = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self.say(f"{what}: failed: {one_line(error)}")
            sys.stderr.write("".join(traceback.format_exception(error)))
            raise
        self.say(f"{what}: {1000 * (time.perf_counter() - started):.1f} ms")

    def say(self, text: str) -> None:
        """One line, if enabled."""
        if self.enabled:
            sys.stderr.write(f"samovar plugins: {text}\n")


def one_line(error: BaseException) -> str:
    """An exception as one line of at most 200 characters."""
    words = " ".join(str(error).split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
