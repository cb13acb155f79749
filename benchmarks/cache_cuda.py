"""The cache on a GPU: how long a hit in each tier takes, how near copies come to the limit, and what prefetching hides.

    python -m benchmarks.cache_cuda [--device cuda:0] [--quick]

- A hit in each tier, until the tensors are on the device and ready, of a SAM embedding kept exactly, in half precision
  and as 8-bit integers; and the bytes a second that were moved for it.
- The limit: the same bytes copied from page-locked memory to the device, and nothing else.
- Overlap: images visited one after another, each fetched from the disk and then decoded (by matrix products that take
  about as long), with and without a hint of the next image. All of the shorter of the two could be hidden.

On a CPU the same code runs, to see that it does; its figures mean nothing then, and the table says so.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import samovar
from samovar.cache import Cache, CacheTier, DiskTier, Entry
from samovar.cache.cuda import CudaTier, PinnedTier
from samovar.cache.tensors import PRECISIONS, Precision

SHAPE = (256, 64, 64)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="few repeats")
    options = parser.parse_args()
    device, repeats = options.device, 5 if options.quick else 100
    on_gpu = device.startswith("cuda")
    print(torch.cuda.get_device_name(device) if on_gpu else "no GPU: these figures say nothing but that the code runs")
    with tempfile.TemporaryDirectory() as folder:
        for line in (*hits(Path(folder), device, repeats), *overlap(Path(folder), device, repeats // 5 + 2)):
            print(line, flush=True)


class Spread:
    """A segmenter that spreads a number over a SAM embedding, on the device."""

    prompt_kinds: frozenset[Any] = frozenset()

    def __init__(self, device: str, fingerprint: str = "spread") -> None:
        self.device, self.fingerprint = device, fingerprint
        self.noise = torch.randn(SHAPE, device=device)

    def encode(self, images: Sequence[samovar.Image]) -> list[samovar.Embedding]:
        """Noise that differs from image to image."""
        return [self._embed(image) for image in images]

    def _embed(self, image: samovar.Image) -> samovar.Embedding:
        tensors = {"features": self.noise * float(image.pixels[0, 0, 0] + 1)}
        names = frozenset(tensors)
        return samovar.Embedding(tensors, image.width, image.height, self.fingerprint, compressible=names)

    def decode(self, embeddings: Any, prompts: Any, options: Any) -> list[samovar.Masks]:
        """Nothing."""
        return []

    def decode_bytes(self, width: int, height: int) -> int:
        """Nothing."""
        return 1


def hits(folder: Path, device: str, repeats: int) -> Iterator[str]:
    """A row for each tier and precision, and the limit."""
    yield f"{'warm hit':<26} {'median':>10} {'MiB':>6} {'GiB/s':>7} {'of the limit':>13}"
    kind = device.partition(":")[0]
    for precision in PRECISIONS:
        entry = stored(device, precision)
        limit = seconds(copying(entry.nbytes, device), device, repeats)
        tiers: dict[str, CacheTier] = {
            "cuda": CudaTier(1 << 30, kind).on(device) or CudaTier(1 << 30, kind),
            "pinned": PinnedTier(1 << 28, kind),
            "disk": DiskTier(folder / precision, 1 << 30),
        }
        for name, tier in tiers.items():
            tier.put(entry)
            way = fetching(tier, entry.key, device, resident=name == "cuda")
            took = seconds(way, device, repeats)
            yield row(f"{name}, {precision}", took, entry.nbytes, limit)
        yield row(f"the copy alone, {precision}", limit, entry.nbytes, limit)


def row(name: str, took: float, nbytes: int, limit: float) -> str:
    """One line of the first table."""
    rate = nbytes / took / 2**30
    return f"{name:<26} {took * 1e3:>7.3f} ms {nbytes / 2**20:>6.2f} {rate:>7.2f} {limit / took:>12.0%}"


def stored(device: str, precision: Precision) -> Entry:
    """An embedding as slower tiers keep it."""
    made = Spread(device).encode([samovar.Image(np.zeros((8, 8, 3), np.uint8))])[0]
    return Entry.pack(made, "ab" * 32, model="spread", precision=precision, cost=1.0)


def fetching(tier: CacheTier, key: str, device: str, *, resident: bool) -> Callable[[], object]:
    """From the tier to tensors on the device."""
    target = CudaTier(1 << 30, device.partition(":")[0]).on(device)

    def fetch() -> object:
        entry = tier.get(key)
        if entry is None or target is None:
            raise SystemExit("a hit missed; its time would mean nothing")
        if not resident:
            entry, event = target.uploader.upload(entry)
            target.uploader.streams.follow(event)
        return entry.unpack().tensors["features"]

    return fetch


def copying(nbytes: int, device: str) -> Callable[[], object]:
    """As many bytes from page-locked memory to the device."""
    host = torch.empty(nbytes, dtype=torch.uint8, pin_memory=device.startswith("cuda"))
    return lambda: host.to(device, non_blocking=True, copy=True)


def overlap(folder: Path, device: str, repeats: int) -> Iterator[str]:
    """How much of fetching the next image hides behind decoding this one."""
    images = [samovar.Image(np.full((8, 8, 3), value, np.uint8)) for value in range(16)]
    segmenter = Spread(device, "overlap")
    disk = DiskTier(folder / "overlap", 1 << 30)
    Cache([disk], disk=disk, admission="always").get_or_encode(images, segmenter)
    fetch = seconds(lambda: visit(images[:1], disk, segmenter, decode=0.0, hint=False), device, 4 * repeats)
    apart, together = [], []
    for _ in range(repeats):
        apart.append(seconds(lambda: visit(images, disk, segmenter, decode=fetch, hint=False), device, 1))
        together.append(seconds(lambda: visit(images, disk, segmenter, decode=fetch, hint=True), device, 1))
    saved = statistics.median(apart) - statistics.median(together)
    yield ""
    yield f"{len(images)} images from the disk, each fetched ({fetch * 1e3:.2f} ms) and then decoded as long"
    yield f"one after the other  {statistics.median(apart) * 1e3:>8.2f} ms"
    yield f"with hints           {statistics.median(together) * 1e3:>8.2f} ms"
    yield f"hidden               {saved / (fetch * (len(images) - 1)):>8.0%} of what could be"


def visit(images: Sequence[samovar.Image], disk: DiskTier, segmenter: Spread, *, decode: float, hint: bool) -> None:
    """Look at each image in turn, in a process that has only the disk's copy, as it were."""
    cache = Cache([CudaTier(1 << 30, segmenter.device.partition(":")[0]), disk], disk=disk, admission="always")
    for index, image in enumerate(images):
        found = cache.get_or_encode([image], segmenter)
        if found.encoded:
            raise SystemExit("a lookup missed; its time would mean nothing")
        if hint:
            cache.prefetch(images[index + 1 : index + 2], segmenter)
        busy(found.embeddings[0].tensors["features"], decode)


def busy(features: Any, seconds_wanted: float) -> None:
    """Products on the caller's stream, for about so long, as decoding many prompts would take."""
    ends = time.perf_counter() + seconds_wanted
    rows = features.flatten(1)
    while time.perf_counter() < ends:
        _ = rows @ rows.T
        synchronise(str(features.device))


def seconds(way: Callable[[], object], device: str, repeats: int) -> float:
    """Median wall seconds, until the device has nothing left to do."""
    way()
    times = []
    for _ in range(repeats):
        synchronise(device)
        began = time.perf_counter()
        way()
        synchronise(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
