"""The tiers of a CUDA device: its own memory, and page-locked memory of the host, from where it fetches by itself.

    CudaTier      one `DeviceTier` on each device that segmenters use
    DeviceTier    tensors on the device, in the encoder's dtype, ready for the decoder
    PinnedTier    entries in stored form, in a `Slab` of page-locked memory

An entry gets onto a device as it is stored, and is dequantized there: that moves a half or a quarter of the bytes over
the bus. An `Uploader` copies it on a stream of its own, so that the copy does not wait for what the decoder is doing;
the decoder's stream waits for an event. The CPU waits for nothing but a staging buffer whose last copy has not ended.

Torch tensors cannot be read-only: each hit hands out a copy made on the device. All of this runs on the CPU as well,
where its tests run, with streams and events that do nothing. Only processes that use a device import this module.
"""

from __future__ import annotations

import bisect
import logging
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.cache.concurrency import on_fork
from samovar.cache.entry import Entry, EntryInfo
from samovar.cache.tensors import BLOCK, Precision, Quantized, TensorRecord, aligned, is_torch, torch, torch_view
from samovar.cache.tiers import Evicted, GdsfPolicy, MemoryTier, TierTraits
from samovar.embedding import Embedding

__all__ = ["CudaTier", "DeviceTier", "PinnedTier", "Slab", "Streams", "Uploader", "restore"]

log = logging.getLogger("samovar.cache")

BUFFERS = 2
"""Staging buffers of an uploader: one is filled while the other is being read."""


# ------------------------------------------------------------------------------------- streams and events


class Streams:
    """A side stream of one device, and events on it; on a CPU, nothing at all.

    Args:
        cuda: the module of streams and events, `torch.cuda`; None on a CPU.
    """

    def __init__(self, device: str, cuda: Any = None) -> None:
        self.device = device
        self._cuda = cuda if cuda is not None else torch().cuda if device.startswith("cuda") else None
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


class DeviceStopwatch:
    """How long a device is at what the current stream is given from now until `stop`; calls return before that."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._began: Any = streams.mark(timed=True)
        self._ended: Any = None

    def stop(self) -> None:
        """Nothing of what follows counts. Waits for nothing."""
        self._ended = self._streams.mark(timed=True)

    def seconds(self) -> float:
        """Waits until the device has got there. 0 on a CPU, whose calls take as long as the work."""
        if self._ended is None:
            return 0.0
        self._ended.synchronize()
        return float(self._began.elapsed_time(self._ended)) / 1000


# ---------------------------------------------------------------------------------------------- uploading


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
            # Page-locked sources must live until the device has read them.
            while self._busy and self._busy[0][0].query():
                self._busy.popleft()
            if event is not None:
                self._busy.append((event, entry))
        return replace(entry, parts=parts), event

    def _part(self, part: TensorRecord) -> TensorRecord:
        if not isinstance(part.stored.values, np.ndarray):
            self.streams.use(part.stored.values)
            return part  # there already
        values = self._send(part.stored.values)
        scales = None if part.stored.scales is None else self._send(part.stored.scales)
        tensor = _dequantize(values, scales, part)
        return replace(part, stored=Quantized("raw", tensor, error=part.stored.error))

    def _send(self, array: NDArray[Any]) -> Any:
        """`array` on the device, on the current stream."""
        host = torch_view(array)
        if self.streams.device == "cpu" or host.is_pinned():
            return host.to(self.device, non_blocking=True, copy=True)
        buffer, event = self._staging[0]
        if event is not None:
            event.synchronize()
        if buffer is None or buffer.numel() < host.nbytes:
            buffer = torch().empty(max(host.nbytes, 1 << 22), dtype=torch().uint8, pin_memory=True)
        staged = buffer[: host.nbytes].view(host.dtype).view(host.shape)
        staged.copy_(host)
        sent = staged.to(self.device, non_blocking=True)
        self._staging[0] = buffer, self.streams.mark()
        self._staging.rotate(-1)
        return sent


def _dequantize(values: Any, scales: Any, part: TensorRecord) -> Any:
    """What `samovar.cache.tensors.dequantize` does, on the device: stored values to the dtype that the encoder gave."""
    module = torch()
    bits = part.dtype == "bfloat16"
    if part.stored.encoding == "raw":
        return values.view(module.bfloat16) if bits else values
    target = module.bfloat16 if bits else getattr(module, np.dtype(part.dtype).name)
    if scales is None:
        return values.to(target)
    axis = part.stored.axis
    if values.is_cuda and target != module.float64 and values.numel() and _triton_works():
        out = module.empty(values.shape, dtype=target, device=values.device)
        restore(values, scales, axis, out)
        return out
    # The same arithmetic by torch's own operations, one pass over the memory for each.
    moved = values[None] if axis is None else values.movedim(axis, 0)
    rows = moved.reshape(moved.shape[0], -1).to(module.float32)
    spread = scales.repeat_interleave(BLOCK, dim=2)[:, :, : rows.shape[1]]
    restored = ((rows + spread[1]) * spread[0]).reshape(moved.shape)
    return (restored[0] if axis is None else restored.movedim(0, axis)).contiguous().to(target)


# ----------------------------------------------------------------------------------------- Triton's kernel

triton: Any = None
tl: Any = None  # Triton looks names up where a kernel is defined: these are set before the first is compiled

KERNEL_BLOCK = 2048


def _restore(  # type: ignore[no-untyped-def]  # Triton looks annotations up as it does all names, and knows none of ours
    integers, scales, zeros, out, count, inner, channels, stretches, stretch: tl.constexpr, block: tl.constexpr
):
    offsets = tl.program_id(0) * block + tl.arange(0, block)
    inside = offsets < count
    channel = (offsets // inner) % channels
    rest = offsets // (inner * channels) * inner + offsets % inner
    place = channel * stretches + rest // stretch
    values = tl.load(integers + offsets, mask=inside).to(tl.float32)
    values = (values + tl.load(zeros + place, mask=inside)) * tl.load(scales + place, mask=inside)
    tl.store(out + offsets, values.to(out.dtype.element_ty), mask=inside)


@lru_cache(maxsize=1)
def kernel() -> Any:
    """`_restore` for Triton to compile. Raises ImportError where that is not installed."""
    global triton, tl
    triton, tl = import_module("triton"), import_module("triton.language")
    return triton.jit(_restore)


def restore(integers: Any, scales: Any, axis: int | None, out: Any) -> None:
    """8-bit integers as numbers, in one pass on the device, into `out`'s dtype.

    Args:
        integers: contiguous int8 tensor on the device, of any shape.
        scales: contiguous, 2×C×B float32, see `samovar.cache.tensors.Quantized`.
        axis: of the channels, or None.
        out: contiguous tensor of the same shape; float32, float16 or bfloat16.
    """
    inner = integers.numel() if axis is None else math.prod(integers.shape[axis + 1 :])
    count = integers.numel()
    _, channels, stretches = scales.shape
    run, grid = kernel(), (-(-count // KERNEL_BLOCK),)
    run[grid](integers, scales[0], scales[1], out, count, inner, channels, stretches, stretch=BLOCK, block=KERNEL_BLOCK)


@lru_cache(maxsize=1)
def _triton_works() -> bool:
    """Whether Triton is installed and works: it needs a C compiler, for one."""
    module = torch()
    try:
        one = module.ones(1, dtype=module.int8, device="cuda")
        restore(one, module.ones(2, 1, 1, device="cuda"), None, one.to(module.float32))
    except ImportError:
        return False
    except Exception as error:  # noqa: BLE001  (whatever it is, there is another way)
        log.warning("embeddings are dequantized without Triton, which does not work here: %s", error)
        return False
    return True


# --------------------------------------------------------------------------------------- the device's memory


class DeviceTier:
    """Entries in the memory of one device, bounded by bytes. Declines entries with anything but torch tensors.

    Args:
        device: "cuda:0", say; "cpu" runs the same code on the CPU.
        max_bytes: of tensors; None for an eighth of the device's memory.
    """

    name = "cuda"
    traits = TierTraits(native_dtype=True)

    def __init__(self, device: str, max_bytes: int | None = None) -> None:
        if max_bytes is None:
            max_bytes = torch().cuda.get_device_properties(device).total_memory // 8
        self.device = device
        self.max_bytes = max_bytes
        self.uploader = Uploader(device)
        self._streams = self.uploader.streams
        self._kept = MemoryTier(max_bytes)
        self._lock = threading.Lock()
        self._events: dict[str, Any] = {}

    def get(self, key: str) -> Entry | None:
        """The entry, to be used on the current stream, or None."""
        with self._lock:
            entry, event = self._kept.get(key), self._events.get(key)
        if entry is not None:
            self._streams.follow(event, *(part.stored.values for part in entry.parts))
        return entry

    def put(self, entry: Entry) -> Sequence[Evicted]:
        """Copy `entry` to the device, if it is not there; return what was evicted for it."""
        if any(part.library != "torch" for part in entry.parts):
            return ()
        on_device, event = self.uploader.upload(entry)
        with self._lock:  # an entry's event must be its own, whoever else puts the same
            self._events[entry.key] = event
            return self._left(self._kept.put(on_device))

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one."""
        with self._lock:
            self._events.pop(key, None)
            return self._kept.delete(key)

    def contains(self, key: str) -> bool:
        """Whether the entry is here, without counting it as a use."""
        return self._kept.contains(key)

    def entries(self) -> Iterator[EntryInfo]:
        """What is here."""
        return self._kept.entries()

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        """Drop the least valuable entries until at most `limit` bytes stay, and those last used before a time."""
        with self._lock:
            return self._left(self._kept.evict(limit, unused_since=unused_since))

    def stopwatch(self) -> DeviceStopwatch:
        """Started now, on the caller's stream."""
        return DeviceStopwatch(self._streams)

    def adopt(
        self, embedding: Embedding, key: str, *, model: str, precision: Precision, cost: float
    ) -> tuple[Entry, Callable[[], Entry]] | None:
        """A copy made on the device, rounded as `Entry.pack` would round it, and what fetches it in stored form.

        None where it is not made of torch tensors only, or where only the CPU can round it.
        """
        if precision == "int8" or not all(is_torch(tensor) for tensor in embedding.tensors.values()):
            return None
        soft = embedding.compressible if precision == "half" else frozenset()
        parts = tuple(
            TensorRecord(
                name,
                "torch",
                _describe(tensor),
                tuple(tensor.shape),
                Quantized("raw", _own_copy(tensor, rounded=name in soft)),
                name in embedding.compressible,
            )
            for name, tensor in embedding.tensors.items()
        )
        size = embedding.width, embedding.height
        entry = Entry(key, embedding.fingerprint, model, *size, parts, precision, cost, time.time())
        made = self._streams.mark()

        def fetch() -> Entry:
            with self._streams.aside(after_caller=False):
                self._streams.follow(made, *(part.stored.values for part in entry.parts))
                return entry.to_host()

        return entry, fetch

    def _left(self, evicted: list[Evicted]) -> list[Evicted]:
        """Entries that have left, to be used on the current stream by whoever keeps them elsewhere."""
        for one in evicted:
            tensors = () if one.entry is None else tuple(part.stored.values for part in one.entry.parts)
            self._streams.follow(self._events.pop(one.info.key, None), *tensors)
        return evicted


def _describe(tensor: Any) -> Any:
    """The dtype of a torch tensor as an entry notes it."""
    if tensor.dtype == torch().bfloat16:
        return "bfloat16"
    return np.lib.format.dtype_to_descr(torch().empty(0, dtype=tensor.dtype).numpy().dtype)


def _own_copy(tensor: Any, *, rounded: bool) -> Any:
    """A contiguous copy on the tensor's device; `rounded` through float16, unless that would not hold all of it.

    The same decision as on the CPU, without waiting for the device to tell.
    """
    module = torch()
    plain = tensor.detach().clone(memory_format=module.contiguous_format)
    if not rounded or plain.dtype not in (module.float32, module.float64) or plain.numel() == 0:
        return plain
    half = plain.to(module.float16).to(plain.dtype)
    return module.where((half - plain).isfinite().all(), half, plain)


class CudaTier:
    """A `DeviceTier` on each device that segmenters use, made when the first embedding gets there.

    Args:
        max_bytes: on each device; None for an eighth of its memory.
        kind: of device.
    """

    name = "cuda"
    traits = TierTraits(native_dtype=True)

    def __init__(self, max_bytes: int | None = None, kind: str = "cuda") -> None:
        self.max_bytes = max_bytes
        self._kind = kind
        self._lock = threading.Lock()
        self._devices: dict[str, DeviceTier] = {}

    def on(self, device: str) -> DeviceTier | None:
        """The tier on `device`; None if that is another kind of device."""
        kind, _, index = device.partition(":")
        if kind != self._kind:
            return None
        name = device if index or kind != "cuda" else f"cuda:{torch().cuda.current_device()}"
        with self._lock:
            if name not in self._devices:
                self._devices[name] = DeviceTier(name, self.max_bytes)
            return self._devices[name]

    def get(self, key: str) -> Entry | None:
        """The entry on whichever device has it, or None."""
        return next((entry for tier in self._tiers() if (entry := tier.get(key)) is not None), None)

    def put(self, entry: Entry) -> Sequence[Evicted]:
        """Declined: which device should it be?"""
        return ()

    def delete(self, key: str) -> bool:
        """Drop the entry on every device; whether there was one."""
        return sum(tier.delete(key) for tier in self._tiers()) > 0

    def entries(self) -> Iterator[EntryInfo]:
        """What is on all devices."""
        return (info for tier in self._tiers() for info in tier.entries())

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        """As `DeviceTier.evict`, on each device."""
        return [one for tier in self._tiers() for one in tier.evict(limit, unused_since=unused_since)]

    def _tiers(self) -> list[DeviceTier]:
        with self._lock:
            return list(self._devices.values())


# --------------------------------------------------------------------------------------- page-locked memory


class Block:
    """A part of a slab. NumPy arrays over it hold on to it; the last one to go gives it back."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.nbytes = nbytes
        self.__array_interface__ = {"data": (address, True), "shape": (nbytes,), "typestr": "|u1", "version": 3}

    def array(self) -> NDArray[np.uint8]:
        """Its bytes, read-only, for good."""
        return np.asarray(self)


class Slab:
    """Memory for blocks, page-locked where there is a CUDA device, so that copies to it need not wait for the CPU.

    One large stretch, for locking pages takes the system a while. A block stays its owner's for as long as an array of
    its lives.

    Args:
        nbytes: of it; taken from the system when the first block is asked for.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._memory: Any = None
        self._gaps: list[tuple[int, int]] = [(0, nbytes)]
        self._renew()
        on_fork(self._renew)

    @property
    def free(self) -> int:
        """Bytes in no block."""
        with self._lock:
            return sum(size for _, size in self._gaps)

    def take(self, nbytes: int, fill: Callable[[NDArray[np.uint8]], object]) -> Block | None:
        """A block of that many bytes, filled by `fill`, or None where no gap is that large."""
        size = max(aligned(nbytes), aligned(1))
        with self._lock:
            if self._memory is None:
                module = torch()
                self._memory = module.empty(self.nbytes, dtype=module.uint8, pin_memory=module.cuda.is_available())
            for index, (start, gap) in enumerate(self._gaps):
                if gap >= size:
                    self._gaps[index : index + 1] = [(start + size, gap - size)] if gap > size else []
                    break
            else:
                return None
        fill(self._memory.numpy()[start : start + nbytes])
        block = Block(self._memory.data_ptr() + start, nbytes)
        # The finaliser keeps the slab, and so the memory, alive as long as the block.
        weakref.finalize(block, self._give, start, size)
        return block

    def _renew(self) -> None:
        self._lock = threading.RLock()  # a block may be given back by a collection in the middle of `take`

    def _give(self, start: int, size: int) -> None:
        with self._lock:
            index = bisect.bisect(self._gaps, (start, size))
            self._gaps.insert(index, (start, size))
            for left in (index, index - 1):
                if 0 <= left < len(self._gaps) - 1 and sum(self._gaps[left]) == self._gaps[left + 1][0]:
                    self._gaps[left : left + 2] = [(self._gaps[left][0], self._gaps[left][1] + self._gaps[left + 1][1])]


class PinnedTier:
    """Entries in a slab, bounded by its size. A block whose arrays somebody still uses is never written to again.

    Args:
        max_bytes: of the slab.
        kind: of device that it feeds.
    """

    name = "pinned"
    traits = TierTraits(async_writes=True)  # locking a whole slab of pages takes the system half a second

    def __init__(self, max_bytes: int, kind: str = "cuda") -> None:
        self.max_bytes = max_bytes
        self._kind = kind
        self._slab = Slab(max_bytes)
        self._lock = threading.Lock()
        self._policy = GdsfPolicy()
        self._entries: dict[str, Entry] = {}

    def serves(self, device: str) -> bool:
        """Only a segmenter on that kind of device."""
        return device.partition(":")[0] == self._kind

    def get(self, key: str) -> Entry | None:
        """The entry, its arrays views of the slab, or None."""
        with self._lock:
            self._policy.touch(key, time.time())
            return self._entries.get(key)

    def put(self, entry: Entry) -> list[Evicted]:
        """Copy `entry` into the slab; return what was evicted for it. One that does not fit is declined."""
        if entry.nbytes > self.max_bytes:
            return []
        evicted: list[Evicted] = []
        with self._lock:
            self._drop(entry.key)
            block = self._slab.take(entry.nbytes, lambda memory: _fill(memory, entry))
            while block is None and self._entries:
                # Room must be in one piece: the least valuable go until it is.
                victims = self._policy.victims(max(self._policy.nbytes - entry.nbytes, 0)) or self._policy.victims(0)
                for key in victims:
                    # Without the entry: it would keep the block from being used again, which is what it was evicted
                    # for. A slower tier has it already, since everything is written through.
                    evicted.append(Evicted(self._entries.pop(key).info, "budget"))
                    self._policy.evict(key)
                block = self._slab.take(entry.nbytes, lambda memory: _fill(memory, entry))
            if block is not None:
                self._entries[entry.key] = _over(block, entry)
                self._policy.put(entry.info)
        return evicted

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one."""
        with self._lock:
            return self._drop(key)

    def contains(self, key: str) -> bool:
        """Whether the entry is here, without counting it as a use."""
        return key in self._entries

    def entries(self) -> Iterator[EntryInfo]:
        """What is here."""
        with self._lock:
            return iter(self._policy.infos())

    def _drop(self, key: str) -> bool:
        self._policy.remove(key)
        return self._entries.pop(key, None) is not None


def _fill(memory: NDArray[np.uint8], entry: Entry) -> None:
    start = 0
    for part in entry.parts:
        for array in part.arrays():
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            memory[start : start + flat.size] = flat
            start += aligned(flat.size)


def _over(block: Block, entry: Entry) -> Entry:
    """`entry` with its arrays over the block that it was copied into."""
    memory, start = block.array(), 0

    def view(array: NDArray[Any]) -> NDArray[Any]:
        nonlocal start
        found = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        start += aligned(array.nbytes)
        return found

    def moved(part: TensorRecord) -> TensorRecord:
        values = view(part.stored.values)
        scales = None if part.stored.scales is None else view(part.stored.scales)
        return replace(part, stored=replace(part.stored, values=values, scales=scales))

    return replace(entry, parts=tuple(moved(part) for part in entry.parts))
