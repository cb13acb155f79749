"""For `benchmarks.cache`: reading one embedding back, beside what others keep the same tensors in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar import Embedding
from samovar.cache import DiskTier, Entry, MemoryTier
from samovar.cache.tensors import Precision

__all__ = ["Reads", "tensor_sets"]

Tensors = dict[str, NDArray[Any]]


def tensor_sets() -> Iterator[tuple[str, Tensors]]:
    """What is kept: a SAM embedding in float32 and float16, and one of many small tensors like the default model's."""
    random = np.random.default_rng(0)
    features = random.standard_normal((1, 256, 64, 64), np.float32)
    yield "SAM, float32", {"features": features}
    yield "SAM, float16", {"features": features.astype(np.float16)}
    yield "12 tensors", {f"tensor{i}": random.integers(0, 99, (1 << 16) // (i + 1), np.int32) for i in range(12)}


@dataclass(frozen=True)
class Reads:
    """Ways to read the same tensors back, in memory and ready to use. Each is a function without arguments."""

    ways: dict[str, Callable[[], Tensors]]

    @classmethod
    def of(cls, tensors: Tensors, folder: Path) -> Reads:
        """Keep `tensors` in every way that is installed here, below `folder`."""
        ways: dict[str, Callable[[], Tensors]] = {}
        for name, make in {
            "samovar memory": _memory,
            "samovar disk, first read": _first,
            "samovar disk": _disk,
            "samovar disk, half": _half,
            "np.load": _npy,
            "np.load of float16, as float32": _npy_half,
            "diskcache": _diskcache,
            "zarr": _zarr,
        }.items():
            try:
                way = make(tensors, folder / name.replace(" ", "-").replace(",", ""))
            except ModuleNotFoundError:
                continue
            if way is not None:
                _check(name, way(), tensors)
                ways[name] = way
        return cls(ways)


def _check(name: str, found: Tensors, tensors: Tensors) -> None:
    for key, tensor in tensors.items():
        near = 1e-2 if name.endswith(("half", "as float32")) else 0
        if found[key].dtype != tensor.dtype or not np.allclose(found[key], tensor, rtol=0, atol=near):
            raise SystemExit(f"{name} gives other tensors back; its times would mean nothing")


def _entry(tensors: Tensors, precision: Precision = "exact") -> Entry:
    soft = frozenset(tensors) if precision != "exact" else frozenset[str]()
    embedding = Embedding(tensors, 640, 480, "benchmark", compressible=soft)
    return Entry.pack(embedding, "ab" * 32, model="benchmark", precision=precision, cost=1.0)


def _memory(tensors: Tensors, folder: Path) -> Callable[[], Tensors]:
    tier, entry = MemoryTier(1 << 30), _entry(tensors)
    tier.put(entry)
    return lambda: dict(_found(tier.get(entry.key)).unpack().tensors)


def _disk(tensors: Tensors, folder: Path) -> Callable[[], Tensors]:
    tier, entry = DiskTier(folder, 1 << 30), _entry(tensors)
    tier.put(entry)
    return lambda: dict(_found(tier.get(entry.key)).unpack().tensors)


def _first(tensors: Tensors, folder: Path) -> Callable[[], Tensors]:
    tier, entry = DiskTier(folder, 1 << 30), _entry(tensors)
    tier.put(entry)

    def read() -> Tensors:
        tier.distrust()
        return dict(_found(tier.get(entry.key)).unpack().tensors)

    return read


def _half(tensors: Tensors, folder: Path) -> Callable[[], Tensors] | None:
    if not any(tensor.dtype == np.float32 for tensor in tensors.values()):
        return None
    import_module("torch")  # as in every process that decodes such an embedding; it converts faster than NumPy
    tier, entry = DiskTier(folder, 1 << 30), _entry(tensors, "half")
    tier.put(entry)
    return lambda: dict(_found(tier.get(entry.key)).unpack().tensors)


def _found(entry: Entry | None) -> Entry:
    if entry is None:
        raise SystemExit("samovar lost the entry; its times would mean nothing")
    return entry


def _npy(tensors: Tensors, folder: Path) -> Callable[[], Tensors]:
    folder.mkdir(parents=True)
    paths = {name: folder / f"{name}.npy" for name in tensors}
    for name, tensor in tensors.items():
        np.save(paths[name], tensor)
    return lambda: {name: np.load(path) for name, path in paths.items()}


def _npy_half(tensors: Tensors, folder: Path) -> Callable[[], Tensors] | None:
    if not any(tensor.dtype == np.float32 for tensor in tensors.values()):
        return None
    read = _npy({name: tensor.astype(np.float16) for name, tensor in tensors.items()}, folder)
    return lambda: {name: tensor.astype(np.float32) for name, tensor in read().items()}


def _diskcache(tensors: Tensors, folder: Path) -> Callable[[], Tensors]:
    diskcache: Any = import_module("diskcache")

    cache = diskcache.Cache(str(folder))
    cache["embedding"] = tensors
    return lambda: dict(cache["embedding"])


def _zarr(tensors: Tensors, folder: Path) -> Callable[[], Tensors]:
    zarr: Any = import_module("zarr")

    group = zarr.open_group(str(folder), mode="w")
    for name, tensor in tensors.items():
        group.create_array(name, data=tensor, chunks=tensor.shape)  # one chunk, as micro-sam keeps its embeddings

    def read() -> Tensors:
        opened = zarr.open_group(str(folder), mode="r")
        return {name: np.asarray(opened[name]) for name in tensors}

    return read
