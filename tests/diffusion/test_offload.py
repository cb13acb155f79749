"""A segmenter and a pipeline that share a device which is too small for both."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import samovar
from samovar.errors import InputError
from samovar_adapters.diffusers import SharedDevice
from tests.fakes import FilledBoxes

GIB = 1 << 30


class Device:
    """Memory of 10 GiB, of which a loaded segmenter takes 4."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.loads = 0
        self.segmenters: list[FilledBoxes] = []
        self.shared: SharedDevice | None = None

    def load(self) -> samovar.Runtime:
        self.loads += 1
        self.segmenters.append(FilledBoxes())
        return samovar.Runtime(self.segmenters[-1], cache=str(self.cache))

    def free(self) -> int:
        assert self.shared is not None
        return (6 if self.shared.segmenter_loaded else 10) * GIB


def device(tmp_path: Path, budget: str) -> tuple[Device, SharedDevice]:
    made = Device(tmp_path)
    made.shared = SharedDevice(made.load, budget=budget, free=made.free)
    return made, made.shared


def test_it_leaves_when_memory_is_short_and_comes_back_to_a_warm_cache(tmp_path: Path, photo: Path) -> None:
    memory, shared = device(tmp_path, "8GB")
    box = samovar.Prompt(box=(10, 10, 50, 50))
    before = shared.runtime().segment(photo, box)
    with shared.diffusion():
        assert not shared.segmenter_loaded
        assert memory.free() >= shared.budget
    after = shared.runtime().segment(photo, box)
    assert before.equals(after)
    assert (shared.dropped, memory.loads) == (1, 2)
    assert memory.segmenters[0].encoded == ["photo.jpg"]
    assert memory.segmenters[1].encoded == []  # from the cache


def test_it_stays_where_there_is_room_for_both(tmp_path: Path) -> None:
    memory, shared = device(tmp_path, "5GB")
    runtime = shared.runtime()
    with shared.diffusion():
        assert shared.runtime() is runtime
    assert (shared.dropped, memory.loads) == (0, 1)


def test_who_asks_for_it_meanwhile_waits_for_the_pipeline(tmp_path: Path) -> None:
    memory, shared = device(tmp_path, "8GB")
    shared.runtime()
    got = threading.Event()

    def ask() -> None:
        shared.runtime()
        got.set()

    with shared.diffusion():
        thread = threading.Thread(target=ask)
        thread.start()
        assert not got.wait(0.2)
        assert memory.loads == 1
    assert got.wait(10)
    thread.join()


def test_a_budget_is_a_number_of_bytes(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        SharedDevice(Device(tmp_path).load, budget=-1)
