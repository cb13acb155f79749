"""The CUDA tier and what feeds it. The same code runs on the CPU and is tested there; with a GPU, on that as well."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from samovar import Embedding
from samovar.cache import Cache, CacheTier, DiskTier, Entry, MemoryTier
from samovar.cache.cuda import CudaTier, DeviceTier, PinnedTier, Slab, Streams, Uploader, restore
from samovar.cache.tensors import PRECISIONS, Precision, Quantized, dequantize, scales_shape, torch_view
from tests.core.cache.support import PixelSegmenter, entry_of, picture, pictures

torch = pytest.importorskip("torch")

DEVICES = [
    "cpu",
    pytest.param(
        "cuda:0",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")],
    ),
]


class DeviceSegmenter(PixelSegmenter):
    """A segmenter whose tensors are torch's, on a device."""

    def __init__(self, device: str, **options: Any) -> None:
        super().__init__(**options)
        self.device = device

    def encode(self, images: Any) -> list[Embedding]:
        return [
            Embedding(
                {name: torch.from_numpy(np.array(tensor)).to(self.device) for name, tensor in made.tensors.items()},
                made.width,
                made.height,
                made.fingerprint,
                compressible=made.compressible,
            )
            for made in super().encode(images)
        ]

    def right(self, embedding: Embedding, image: Any) -> bool:
        assert all(tensor.device == torch.device(self.device) for tensor in embedding.tensors.values())
        host = {name: tensor.cpu().numpy() for name, tensor in embedding.tensors.items()}
        return self.made(Embedding(host, embedding.width, embedding.height, embedding.fingerprint), image)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cache(device: str, tmp_path: Path) -> Iterator[Cache]:
    made = opened(device, tmp_path)
    yield made
    made.close()


def opened(device: str, folder: Path, budget: int = 1 << 20, precision: Precision = "half") -> Cache:
    kind = device.partition(":")[0]
    disk = DiskTier(folder, 1 << 22)
    tiers: list[CacheTier] = [CudaTier(budget, kind), PinnedTier(1 << 20, kind), MemoryTier(1 << 20), disk]
    return Cache(tiers, disk=disk, admission="always", precision=precision)


def tensor_entry(tensors: dict[str, Any], precision: Precision = "exact", key: str = "k") -> Entry:
    soft = frozenset(name for name, tensor in tensors.items() if tensor.is_floating_point())
    embedding = Embedding(tensors, 24, 16, "f", compressible=soft if precision != "exact" else frozenset())
    return Entry.pack(embedding, key, model="m", precision=precision, cost=1.0)


# --------------------------------------------------------------------------------------------- uploading


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(8, 9, 32), (5,), (), (0, 3)])
def test_what_is_uploaded_equals_what_the_cpu_would_restore(
    device: str, precision: Precision, dtype: str, shape: tuple[int, ...]
) -> None:
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 9).to(getattr(torch, dtype))
    entry = tensor_entry({"t": tensor}, precision)
    uploader = Uploader(device)
    for _ in range(4):  # more often than there are staging buffers
        there, event = uploader.upload(entry)
        uploader.streams.follow(event)
        found = there.unpack().tensors["t"]
        assert found.device == torch.device(device)
        assert torch.equal(found.cpu(), entry.unpack().tensors["t"])
        assert found.dtype == tensor.dtype


def test_what_is_uploaded_is_no_view_of_the_entry(device: str) -> None:
    entry = tensor_entry({"t": torch.arange(9.0)})
    there, _ = Uploader(device).upload(entry)
    there.unpack().tensors["t"].zero_()
    assert entry.unpack().tensors["t"].tolist() == list(range(9))


def test_failing_to_get_page_locked_memory_uses_no_buffer_up(monkeypatch: pytest.MonkeyPatch) -> None:
    entry, uploader, empty = tensor_entry({"t": torch.arange(9.0)}), Uploader("cpu"), torch.empty
    uploader.streams.device = "staged"  # through buffers, as to a CUDA device

    def full(*size: int, **options: Any) -> Any:
        raise RuntimeError("no page-locked memory left")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "empty", full)
        for _ in range(4):  # more often than there are staging buffers
            with pytest.raises(RuntimeError, match="no page-locked memory left"):
                uploader.upload(entry)
    monkeypatch.setattr(torch, "empty", lambda *size, dtype, pin_memory: empty(*size, dtype=dtype))
    there, _ = uploader.upload(entry)
    assert there.unpack().tensors["t"].tolist() == list(range(9))


class FakeStream:
    """Notes what a stream of CUDA is asked to do."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done = name, done

    def wait_stream(self, other: FakeStream) -> None:
        self.done.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: str) -> None:
        self.done.append(f"{self.name} waits for {event}")

    def record_event(self, event: object) -> str:
        return f"what {self.name} has been given"


class FakeTensor:
    def __init__(self, done: list[str]) -> None:
        self.done = done

    def record_stream(self, stream: FakeStream) -> None:
        self.done.append(f"{stream.name} uses it")


@pytest.mark.parametrize("after_caller", [False, True])
def test_the_callers_stream_waits_for_an_upload_and_an_upload_for_it_only_if_need_be(after_caller: bool) -> None:
    done: list[str] = []
    caller, side = FakeStream("caller", done), FakeStream("side", done)
    now = [caller]

    @contextmanager
    def stream(other: FakeStream) -> Iterator[None]:
        now.append(other)
        yield
        now.pop()

    cuda = SimpleNamespace(
        current_stream=lambda device: now[-1],
        stream=stream,
        Stream=lambda device: side,
        Event=lambda enable_timing: None,
    )
    streams = Streams("fake", cuda)
    with streams.aside(after_caller=after_caller):
        event = streams.mark()
    streams.follow(event, FakeTensor(done))
    waits = ["side waits for caller"] if after_caller else []
    assert done == [*waits, "caller waits for what side has been given", "caller uses it"]


# ---------------------------------------------------------------------------------------------- the tiers


def test_the_second_time_nothing_is_encoded_or_fetched(cache: Cache, device: str) -> None:
    segmenter = DeviceSegmenter(device)
    for expected in (5, 0):
        found = cache.get_or_encode(pictures(5), segmenter)
        assert found.encoded == expected
        assert all(segmenter.right(*pair) for pair in zip(found.embeddings, pictures(5)))
    rows = {row.tier: row.counts for row in cache.stats()}
    assert rows["cuda"].hits == 5
    assert "memory" not in rows, "the host's memory tier stands aside for the device's"


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_the_device_is_sent_what_is_stored_and_dequantizes_it_itself(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    sent: list[str] = []
    real = Uploader.upload

    def spy(self: Uploader, entry: Entry) -> Any:
        sent.extend(part.stored.encoding for part in entry.parts)
        return real(self, entry)

    monkeypatch.setattr(Uploader, "upload", spy)

    class Soft(DeviceSegmenter):
        def encode(self, images: Any) -> list[Embedding]:
            tensor = torch.randn(16, 32, 32, generator=torch.Generator().manual_seed(1)).to(self.device)
            return [Embedding({"soft": tensor}, 24, 16, self.fingerprint, compressible=frozenset({"soft"}))]

    segmenter = Soft(device)
    made = opened(device, tmp_path, precision=precision)
    made.get_or_encode([picture(1)], segmenter)
    made.close()
    sent.clear()
    found = opened(device, tmp_path, precision=precision).get_or_encode([picture(1)], segmenter)
    assert (found.encoded, sent) == (0, [precision])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_cost_of_an_entry_is_what_the_device_took_where_that_is_longer_than_the_call(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    """A device's work goes on when the call has returned."""
    monkeypatch.setattr("samovar.cache.cuda.DeviceStopwatch.seconds", lambda self: 20.0)
    made = opened(device, tmp_path, precision=precision)
    made.get_or_encode(pictures(4), DeviceSegmenter(device), encode_batch=2)
    made.close()
    assert [info.cost for info in DiskTier(tmp_path, 1 << 20).entries()] == [10.0] * 4


def test_what_was_encoded_sinks_to_the_disk_behind_the_callers_back(device: str, tmp_path: Path) -> None:
    segmenter, first = DeviceSegmenter(device), opened(device, tmp_path)
    before = first.get_or_encode(pictures(5), segmenter).embeddings
    first.close()
    again = opened(device, tmp_path).get_or_encode(pictures(5), segmenter)
    assert again.encoded == 0
    for one, other, image in zip(before, again.embeddings, pictures(5)):
        assert segmenter.right(other, image)
        assert torch.equal(one.tensors["coarse"], other.tensors["coarse"]), (
            "a miss and a later hit give the same numbers"
        )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rounding_on_the_device_is_rounding_on_the_cpu(device: str, tmp_path: Path, precision: Precision) -> None:
    class Large(DeviceSegmenter):
        def encode(self, images: Any) -> list[Embedding]:
            generator = torch.Generator().manual_seed(1)
            tensors = {
                "soft": torch.randn(16, 32, 32, generator=generator).to(self.device),
                "beyond half": torch.tensor([1.0, 1e6, 1 / 3]).to(self.device),
                "hard": torch.randn(99, generator=generator).to(self.device),
            }
            return [Embedding(tensors, 24, 16, self.fingerprint, compressible=frozenset({"soft", "beyond half"}))]

    segmenter, first = Large(device), opened(device, tmp_path, precision=precision)
    missed = first.get_or_encode([picture(1)], segmenter).embeddings[0]
    first.close()
    hit = opened(device, tmp_path, precision=precision).get_or_encode([picture(1)], segmenter).embeddings[0]
    made = segmenter.encode([picture(1)])[0]
    for name in made.tensors:
        assert torch.equal(missed.tensors[name], hit.tensors[name])
    assert torch.equal(hit.tensors["hard"], made.tensors["hard"])
    assert torch.equal(hit.tensors["soft"], made.tensors["soft"]) == (precision == "exact")
    if precision == "half":
        assert torch.equal(hit.tensors["beyond half"], made.tensors["beyond half"])


@pytest.mark.slow
def test_a_small_device_budget_drops_but_loses_nothing(device: str, tmp_path: Path) -> None:
    segmenter, cache = DeviceSegmenter(device, padding=4000), opened(device, tmp_path, budget=9000)
    for _ in range(2):
        for image in pictures(6):
            assert segmenter.right(cache.get_or_encode([image], segmenter).embeddings[0], image)
            gc.collect()
    assert len(segmenter.encoded) == 6
    assert sum(info.nbytes for info in cache.tiers[0].entries()) <= 9000
    cache.close()


def test_writing_to_a_cached_tensor_hits_a_copy(cache: Cache, device: str) -> None:
    segmenter = DeviceSegmenter(device)
    for _ in range(3):
        embedding = cache.get_or_encode([picture(1)], segmenter).embeddings[0]
        assert segmenter.right(embedding, picture(1))
        embedding.tensors["code"].zero_()


def test_a_segmenter_that_reuses_its_buffer_does_not_change_the_cache(cache: Cache, device: str) -> None:
    class Reuses(DeviceSegmenter):
        def encode(self, images: Any) -> list[Embedding]:
            if not hasattr(self, "buffer"):
                self.buffer = torch.zeros(4, device=self.device)
            self.buffer += 1
            return [Embedding({"buffer": self.buffer}, 24, 16, self.fingerprint)]

    segmenter = Reuses(device)
    cache.get_or_encode([picture(1)], segmenter)
    cache.get_or_encode([picture(2)], segmenter)
    assert cache.get_or_encode([picture(1)], segmenter).embeddings[0].tensors["buffer"].tolist() == [1, 1, 1, 1]


def test_arrays_of_numpy_stay_off_the_device(cache: Cache, device: str) -> None:
    class Plain(PixelSegmenter):
        pass

    segmenter = Plain()
    segmenter.device = device  # type: ignore[attr-defined]
    assert cache.get_or_encode([picture(1)], segmenter).encoded == 1
    assert cache.get_or_encode([picture(1)], segmenter).encoded == 0
    assert list(cache.tiers[0].entries()) == []


def test_each_device_has_a_tier_of_its_own() -> None:
    tier = CudaTier(1 << 20, "cpu")
    one = tier.on("cpu")
    assert one is tier.on("cpu")
    assert tier.on("cuda:0") is None
    assert isinstance(one, DeviceTier)
    one.put(tensor_entry({"t": torch.ones(3)}))
    assert [info.key for info in tier.entries()] == ["k"]
    assert tier.delete("k")
    assert list(tier.entries()) == []


def test_prefetching_on_a_device(cache: Cache, device: str) -> None:
    segmenter = DeviceSegmenter(device)
    cache.prefetch(pictures(4), segmenter)
    assert cache.wait_for_prefetch(60)
    found = cache.get_or_encode(pictures(4), segmenter)
    assert found.encoded == 0
    assert all(segmenter.right(*pair) for pair in zip(found.embeddings, pictures(4)))


# ----------------------------------------------------------------------------------- page-locked memory


@pytest.mark.slow
def test_blocks_go_back_when_their_last_array_does_and_gaps_grow_together() -> None:
    slab = Slab(1024)
    blocks = [slab.take(256, lambda memory: None) for _ in range(4)]
    assert slab.free == 0
    assert slab.take(1, lambda memory: None) is None
    view = blocks[1].array()[10:20] if blocks[1] is not None else None
    del blocks[:]
    gc.collect()
    assert slab.free == 768
    assert slab.take(513, lambda memory: None) is None, "768 bytes, but not in one piece"
    del view
    gc.collect()
    whole = slab.take(1024, lambda memory: None)
    assert whole is not None


def test_a_block_in_use_is_not_written_over() -> None:
    tier = PinnedTier(4096, "cpu")
    tier.put(entry_of(0))
    entry = tier.get(entry_of(0).key)
    assert entry is not None
    tensor = entry.unpack().tensors["tensor"]
    del entry
    gc.collect()
    for seed in range(1, 12):
        tier.put(entry_of(seed))
    assert tier.get(entry_of(0).key) is None, "dropped"
    assert np.array_equal(tensor, entry_of(0).unpack().tensors["tensor"]), "and yet whole"
    with pytest.raises(ValueError, match="read-only"):
        tensor[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        tensor.setflags(write=True)


def test_the_slab_bounds_the_tier() -> None:
    tier = PinnedTier(10 * 1024, "cpu")
    random = np.random.default_rng(0)
    for seed in range(80):
        tier.put(entry_of(seed, nbytes=int(random.integers(1, 4000))))
        assert sum(info.nbytes for info in tier.entries()) <= 10 * 1024
    kept: Sequence[Any] = [tier.get(info.key) for info in list(tier.entries())]
    for entry in kept:
        seed = int(entry.key, 16)
        assert np.array_equal(entry.unpack().tensors["tensor"][:1], entry_of(seed).unpack().tensors["tensor"][:1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_slab_is_page_locked_where_there_is_a_device() -> None:
    tier = PinnedTier(1 << 16)
    tier.put(tensor_entry({"t": torch.ones(99)}))
    entry = tier.get("k")
    assert entry is not None
    assert torch_view(entry.parts[0].stored.values).is_pinned()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(256, 64, 64), (32, 100, 7), (1, 5)])
def test_the_kernel_restores_as_the_cpu_does(dtype: str, shape: tuple[int, ...]) -> None:
    pytest.importorskip("triton")
    for axis in (None, *range(len(shape))):
        kept = Quantized("int8", *random_integers(shape, axis), axis)
        out = torch.empty(shape, dtype=getattr(torch, dtype), device="cuda")
        restore(torch.from_numpy(kept.values).cuda(), torch.from_numpy(kept.scales).cuda(), axis, out)
        assert torch.equal(out.cpu(), torch.from_numpy(dequantize(kept, np.dtype(np.float32))).to(out.dtype))


def random_integers(shape: tuple[int, ...], axis: int | None) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    values = random.integers(-128, 128, shape, np.int8)
    scales = random.random(scales_shape(shape, axis), np.float32) + np.float32(0.1)
    scales[1] = np.rint(scales[1] * 300)
    return values, scales


def test_the_kernel_does_the_same_in_tritons_interpreter() -> None:
    """Where there is Triton but no GPU. (The interpreter truncates to bfloat16, so that is left to the real thing.)"""
    pytest.importorskip("triton")
    program = """
import numpy
import torch
from samovar.cache.cuda import restore
from samovar.cache.tensors import Quantized, dequantize
from tests.core.cache.test_device import random_integers
for shape in ((32, 100, 7), (2, 600)):
    for dtype in (torch.float32, torch.float16):
        for axis in (None, *range(len(shape))):
            kept, out = Quantized("int8", *random_integers(shape, axis), axis), torch.empty(shape, dtype=dtype)
            restore(torch.from_numpy(kept.values), torch.from_numpy(kept.scales), axis, out)
            whole = torch.from_numpy(dequantize(kept, numpy.dtype("f4")))
            assert torch.equal(out, whole.to(dtype)), (shape, dtype, axis)
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_the_kernel_compiles_for_gpus_that_are_not_here() -> None:
    """Which the interpreter does not tell: it runs Python, of which Triton's compiler takes only a part."""
    pytest.importorskip("triton")
    program = """
from samovar.cache.cuda import kernel
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
_kernel = kernel()
assert [one.name for one in _kernel.params if one.is_constexpr] == ["stretch", "block"]
pointers = {"integers": "*i8", "scales": "*fp32", "zeros": "*fp32"}
numbers = dict.fromkeys(("count", "inner", "channels", "stretches"), "i32")
constants = {(8,): 256, (9,): 2048}
for out in ("*fp32", "*fp16", "*bf16"):
    signature = {**pointers, "out": out, **numbers, "stretch": "constexpr", "block": "constexpr"}
    for capability in (80, 90):
        made = compile(ASTSource(_kernel, signature, constants), target=GPUTarget("cuda", capability, 32))
        assert "ptx" in made.asm
"""
    subprocess.run([sys.executable, "-c", program], check=True)
