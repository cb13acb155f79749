"""Room for diffusion: the segmenter leaves the device while a pipeline runs, when both do not fit."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from samovar.errors import InputError
from samovar.sizes import parse_bytes

if TYPE_CHECKING:
    from samovar.runtime import Runtime

__all__ = ["SharedDevice"]


class SharedDevice:
    """A segmenter and a diffusion pipeline that share one device's memory. Any number of threads may use it.

    While a pipeline runs and less than `budget` is free, the segmenter is dropped; it is loaded again when it is next
    asked for. Its embeddings stay in the cache, so an image that was segmented before is not encoded again. Ask for
    `runtime()` every time: one that is kept elsewhere keeps its memory, too.

    Args:
        load: makes the runtime, as `lambda: samovar.load(…)`; give it a cache that outlives it.
        device: "cuda", "cuda:1"; the memory of anything else is not watched.
        budget: bytes that a pipeline's run needs free ("12GB" works too).
        free: bytes that are free on the device; asks torch if not given.
    """

    def __init__(
        self,
        load: Callable[[], Runtime],
        *,
        device: str = "cuda",
        budget: int | str = "8GB",
        free: Callable[[], int] | None = None,
    ) -> None:
        self.budget = budget if isinstance(budget, int) else parse_bytes(budget)
        if self.budget < 0:
            raise InputError(f"budget must be a number of bytes, 0 or more; got {budget!r}")
        self._load, self._device = load, device
        self._free = free or (lambda: _free_bytes(device))
        self._runtime: Runtime | None = None
        self._lock = threading.RLock()
        self.dropped = 0
        """How often the segmenter had to leave."""

    @property
    def segmenter_loaded(self) -> bool:
        """Whether the segmenter is there now."""
        return self._runtime is not None

    def runtime(self) -> Runtime:
        """The segmenter's runtime, loaded if it is not there. Waits while a pipeline runs that it had to leave for."""
        with self._lock:
            if self._runtime is None:
                self._runtime = self._load()
            return self._runtime

    @contextmanager
    def diffusion(self) -> Iterator[None]:
        """Run a pipeline inside: `with shared.diffusion(): inpaint(…)`."""
        with self._lock:
            if self._runtime is not None and self._free() < self.budget:
                self._runtime.cache.close()
                self._runtime = None
                self.dropped += 1
                _release(self._device)
            yield


def _free_bytes(device: str) -> int:
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return 1 << 62
    free: int = torch.cuda.mem_get_info(device)[0]
    return free


def _release(device: str) -> None:
    """Have torch hand freed memory back, so that the pipeline's allocations find it."""
    import torch

    gc.collect()
    if device.startswith("cuda") and torch.cuda.is_available():
        with torch.cuda.device(torch.device(device)):
            torch.cuda.empty_cache()
