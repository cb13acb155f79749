"""Getting entries onto a device: staged through page-locked memory, on a stream of their own, widened there.

Nothing here makes the CPU wait for the device, but for a staging buffer whose last copy has not ended. On a CPU the
same code runs with streams and events that do nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.cache.entry import Entry
from samovar.cache.foreign import to_view, torch
from samovar.cache.integers import BLOCK
from samovar.cache.parts import Part
from samovar.cache.precision import Narrowed

__all__ = ["Stopwatch", "Streams", "Uploader"]

log = logging.getLogger("samovar.cache")

BUFFERS = 2


class Streams:
    """A side stream of one device, and events on it; on a CPU, nothing at all."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._cuda: Any = torch().cuda if device.startswith("cuda") else None
        self._side: Any = self._cuda.Stream(device) if self._cuda is not None else None

    def aside(self, *, after_caller: bool = True) -> AbstractContextManager[Any]:
        """Work started within goes to the side stream; `after_caller`: after what the current one was given so far."""
        if self._cuda is None:
            return nullcontext()
        if after_caller:
            self._side.wait_stream(self._cuda.current_stream(self.device))
        found: AbstractContextManager[Any] = self._cuda.stream(self._side)
        return found

    def mark(self, *, timed: bool = False) -> Any:
        """An event that comes when what the current stream has been given so far is done; `timed`: it knows when."""
        if self._cuda is None:
            return None
        return self._cuda.current_stream(self.device).record_event(self._cuda.Event(enable_timing=timed))

    def follow(self, event: Any, *tensors: Any) -> None:
        """Let the current stream go on only after `event`; it will use `tensors`, made on another stream."""
        if self._cuda is not None and event is not None:
            self._cuda.current_stream(self.device).wait_event(event)
            self.use(*tensors)

    def use(self, *tensors: Any) -> None:
        """Keep the memory of `tensors`, made on another stream, from being given away while the current one uses it."""
        if self._cuda is not None:
            for tensor in tensors:
                tensor.record_stream(self._cuda.current_stream(self.device))


class Stopwatch:
    """How long a device is at what the current stream is given from now until `stop`; calls return before that."""

    def __init__(self, streams: Streams | None) -> None:
        self._streams = streams
        self._began: Any = None if streams is None else streams.mark(timed=True)
        self._ended: Any = None

    def stop(self) -> None:
        """Nothing of what follows counts. Waits for nothing."""
        if self._streams is not None:
            self._ended = self._streams.mark(timed=True)

    def seconds(self) -> float:
        """Waits until the device has got there. 0 on a CPU, whose calls take as long as the work."""
        if self._ended is None:
            return 0.0
        self._ended.synchronize()
        return float(self._began.elapsed_time(self._ended)) / 1000


class Uploader:
    """Copies entries to one device. Any number of threads may use it."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.streams = Streams(device)
        self._lock = threading.Lock()
        self._staging: deque[tuple[Any, Any]] = deque((None, None) for _ in range(BUFFERS))
        self._busy: deque[tuple[Any, Entry]] = deque()

    def upload(self, entry: Entry) -> tuple[Entry, Any]:
        """The entry with tensors on the device, in the dtypes the encoder gave, and the event after which they are.

        What comes from the host does not wait for what the caller's stream is still doing: so the two overlap.
        """
        there = any(not isinstance(part.stored.values, np.ndarray) for part in entry.parts)
        with self._lock, self.streams.aside(after_caller=there):
            parts = tuple(self._part(part) for part in entry.parts)
            event = self.streams.mark()
            self._hold(entry, event)
        return replace(entry, parts=parts), event

    def _part(self, part: Part) -> Part:
        if not isinstance(part.stored.values, np.ndarray):
            self.streams.use(part.stored.values)
            return part  # there already
        values = self._send(part.stored.values)
        scales = None if part.stored.scales is None else self._send(part.stored.scales)
        tensor = widen(values, scales, part)
        return replace(part, stored=Narrowed("raw", tensor, error=part.stored.error))

    def _send(self, array: NDArray[Any]) -> Any:
        """`array` on the device, on the current stream."""
        module = torch()
        host = to_view(array)
        if self.streams.device == "cpu" or host.is_pinned():
            return host.to(self.device, non_blocking=True, copy=True)
        buffer, event = self._staging[0]
        if event is not None:
            event.synchronize()
        if buffer is None or buffer.numel() < host.nbytes:
            buffer = module.empty(max(host.nbytes, 1 << 22), dtype=module.uint8, pin_memory=True)
        staged = buffer[: host.nbytes].view(host.dtype).view(host.shape)
        staged.copy_(host)
        sent = staged.to(self.device, non_blocking=True)
        self._staging[0] = buffer, self.streams.mark()
        self._staging.rotate(-1)
        return sent

    def _hold(self, entry: Entry, event: Any) -> None:
        """Keep page-locked sources alive until the device has read them."""
        while self._busy and self._busy[0][0].query():
            self._busy.popleft()
        if event is not None:
            self._busy.append((event, entry))


def widen(values: Any, scales: Any, part: Part) -> Any:
    """What `samovar.cache.precision.widen` does, on the device: stored values to the dtype that the encoder gave."""
    module = torch()
    bits = part.dtype == "bfloat16"
    if part.stored.encoding == "raw":
        return values.view(module.bfloat16) if bits else values
    target = module.bfloat16 if bits else getattr(module, np.dtype(part.dtype).name)
    if scales is None:
        return values.to(target)
    kernel = _kernel() if values.is_cuda and target != module.float64 else None
    if kernel is not None and values.numel():
        out = module.empty(values.shape, dtype=target, device=values.device)
        kernel.restore(values, scales, part.stored.axis, out)
        return out
    return _restore(values, scales, part.stored.axis).to(target)


def _restore(values: Any, scales: Any, axis: int | None) -> Any:
    """`Integers.restore` by torch's own operations."""
    module = torch()
    moved = values[None] if axis is None else values.movedim(axis, 0)
    rows = moved.reshape(moved.shape[0], -1).to(module.float32)
    spread = scales.repeat_interleave(BLOCK, dim=2)[:, :, : rows.shape[1]]
    restored = ((rows + spread[1]) * spread[0]).reshape(moved.shape)
    return (restored[0] if axis is None else restored.movedim(0, axis)).contiguous()


@lru_cache(maxsize=1)
def _kernel() -> Any:
    """The module of kernels, or None where Triton is not installed or cannot work: it needs a C compiler, for one."""
    module = torch()
    try:
        from samovar.cache import kernels

        one = module.ones(1, dtype=module.int8, device="cuda")
        kernels.restore(one, module.ones(2, 1, 1, device="cuda"), None, one.to(module.float32))
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001  (whatever it is, there is another way)
        log.warning("embeddings are widened without Triton, which does not work here: %s", error)
        return None
    return kernels
