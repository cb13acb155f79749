"""`Cache`: what is there is not encoded again, and nobody can change it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from samovar import Embedding, Image
from samovar.cache import Cache, CacheConfig, DiskTier, Entry, MemoryTier
from samovar.errors import CacheError, InputError, PluginError
from tests.core.cache.support import PixelSegmenter, picture, pictures


def fresh(folder: Path, memory: int = 1 << 24, disk: int = 1 << 24) -> Cache:
    """A cache as another process would see it: nothing of it is in memory yet."""
    tier = DiskTier(folder, disk)
    return Cache([MemoryTier(memory), tier], disk=tier, admission="always")


def test_the_second_time_nothing_is_encoded(tmp_path: Path) -> None:
    segmenter, images, cache = PixelSegmenter(), pictures(5), fresh(tmp_path)
    first = cache.get_or_encode(images, segmenter)
    second = cache.get_or_encode(images, segmenter)
    assert first.hits == (False,) * 5
    assert first.encoded == 5
    assert second.hits == (True,) * 5
    assert second.encoded == 0
    assert second.encode_seconds == 0
    assert len(segmenter.encoded) == 5
    assert all(segmenter.made(embedding, image) for embedding, image in zip(second.embeddings, images))


def test_another_process_finds_what_this_one_encoded(tmp_path: Path) -> None:
    segmenter, images = PixelSegmenter(), pictures(5)
    fresh(tmp_path).get_or_encode(images, segmenter)
    again = fresh(tmp_path).get_or_encode(images, segmenter)
    assert again.encoded == 0
    assert all(segmenter.made(embedding, image) for embedding, image in zip(again.embeddings, images))


def test_a_miss_and_every_later_hit_give_the_same_numbers(tmp_path: Path) -> None:
    segmenter, image = PixelSegmenter(), picture(1)
    cache = fresh(tmp_path)
    lookups = [cache.get_or_encode([image], segmenter) for _ in range(2)] + [
        fresh(tmp_path).get_or_encode([image], segmenter)
    ]
    coarse = [lookup.embeddings[0].tensors["coarse"] for lookup in lookups]
    assert not np.array_equal(coarse[0], segmenter.encode([image])[0].tensors["coarse"]), (
        "half precision is the default"
    )
    assert np.array_equal(coarse[0], coarse[1])
    assert np.array_equal(coarse[0], coarse[2])
    assert coarse[0].dtype == np.float32


def test_an_image_given_twice_is_encoded_once(tmp_path: Path) -> None:
    segmenter = PixelSegmenter()
    found = fresh(tmp_path).get_or_encode([picture(1), picture(2), picture(1)], segmenter)
    assert found.encoded == 2
    assert sorted(segmenter.encoded) == ["picture-1", "picture-2"]
    assert found.embeddings[0] is found.embeddings[2]


def test_misses_are_encoded_in_batches(tmp_path: Path) -> None:
    sizes = []

    class Batches(PixelSegmenter):
        def encode(self, images: object) -> list[Embedding]:
            sizes.append(len(images))  # type: ignore[arg-type]
            return super().encode(images)  # type: ignore[arg-type]

    fresh(tmp_path).get_or_encode(pictures(7), Batches(), encode_batch=3)
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize("spec", [None, "off"])
def test_without_a_cache_every_call_encodes(spec: str | None) -> None:
    segmenter, cache = PixelSegmenter(), Cache.open(spec)
    for _ in range(2):
        found = cache.get_or_encode(pictures(3), segmenter, encode_batch=2)
        assert found.encoded == 3
        assert all(segmenter.made(embedding, image) for embedding, image in zip(found.embeddings, pictures(3)))
    assert len(segmenter.encoded) == 6
    assert not cache.holds(picture(0), segmenter)


@pytest.mark.parametrize("hits", [False, True])
def test_a_cached_tensor_cannot_be_written_to(tmp_path: Path, hits: bool) -> None:
    segmenter, cache = PixelSegmenter(), fresh(tmp_path)
    for _ in range(1 + hits):
        tensors = cache.get_or_encode([picture(1)], segmenter).embeddings[0].tensors
    for tensor in tensors.values():
        with pytest.raises(ValueError, match="read-only"):
            tensor[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            tensor.setflags(write=True)


def test_a_segmenter_that_keeps_writing_to_its_tensors_does_not_change_the_cache(tmp_path: Path) -> None:
    class Reuses(PixelSegmenter):
        """Gives the same buffer away every time."""

        buffer = np.zeros(4, np.float32)

        def encode(self, images: object) -> list[Embedding]:
            self.buffer.setflags(write=True)
            self.buffer += 1
            return [Embedding({"buffer": self.buffer}, 24, 16, self.fingerprint)]

    cache, segmenter = fresh(tmp_path), Reuses()
    first = cache.get_or_encode([picture(1)], segmenter).embeddings[0]
    cache.get_or_encode([picture(2)], segmenter)
    assert first.tensors["buffer"].tolist() == [1, 1, 1, 1]
    assert cache.get_or_encode([picture(1)], segmenter).embeddings[0].tensors["buffer"].tolist() == [1, 1, 1, 1]


def test_an_embedding_that_no_file_can_hold_is_answered_but_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(PixelSegmenter):
        def encode(self, images: object) -> list[Embedding]:
            return [Embedding({"odd": np.array([{}], object)}, 24, 16, self.fingerprint)]

    found = fresh(tmp_path).get_or_encode([picture(1)], Odd())
    assert found.embeddings[0].tensors["odd"].dtype == object
    assert "'odd' holds Python objects" in caplog.text


@pytest.mark.parametrize("count", [0, 2])
def test_a_segmenter_that_gives_another_number_of_embeddings_is_refused(tmp_path: Path, count: int) -> None:
    class Wrong(PixelSegmenter):
        def encode(self, images: object) -> list[Embedding]:
            return super().encode([picture(1)]) * count

    with pytest.raises(PluginError, match=f"one embedding an image; got {count} for 1"):
        fresh(tmp_path).get_or_encode([picture(1)], Wrong())


def test_an_embedding_of_another_segmenter_is_refused_rather_than_kept(tmp_path: Path) -> None:
    class Wrong(PixelSegmenter):
        def encode(self, images: object) -> list[Embedding]:
            return [Embedding({}, 24, 16, "somebody else's")]

    cache = fresh(tmp_path)
    with pytest.raises(PluginError, match="must carry its encoder's fingerprint"):
        cache.get_or_encode([picture(1)], Wrong())
    assert not cache.holds(picture(1), Wrong())


@pytest.mark.parametrize("on_disk", [True, False], ids=["disk", "memory alone"])
def test_threads_that_miss_the_same_image_encode_it_once(tmp_path: Path, on_disk: bool) -> None:
    segmenter, barrier = PixelSegmenter(seconds=0.05), threading.Barrier(8)
    cache = fresh(tmp_path) if on_disk else Cache([MemoryTier(1 << 20)])

    def look(_: int) -> Embedding:
        barrier.wait()
        return cache.get_or_encode([picture(1)], segmenter).embeddings[0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(look, range(8)))
    assert segmenter.encoded == ["picture-1"]
    assert all(segmenter.made(embedding, picture(1)) for embedding in found)


def test_threads_with_overlapping_sets_encode_each_image_once(tmp_path: Path) -> None:
    segmenter, cache = PixelSegmenter(seconds=0.002), fresh(tmp_path)
    sets = [np.random.default_rng(seed).permutation(20)[:12] for seed in range(6)]

    def look(chosen: list[int]) -> bool:
        images = [picture(seed) for seed in chosen]
        found = cache.get_or_encode(images, segmenter, encode_batch=3)
        return all(segmenter.made(embedding, image) for embedding, image in zip(found.embeddings, images))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(look, [chosen.tolist() for chosen in sets]))
    assert sorted(segmenter.encoded) == sorted({f"picture-{seed}" for chosen in sets for seed in chosen})


def test_a_thread_that_comes_just_after_another_has_landed_does_not_encode_again() -> None:
    """In memory alone too: there is no lock between processes to look again under."""
    landed = threading.Event()

    class Late(MemoryTier):
        def get(self, key: str) -> Entry | None:
            entry = super().get(key)
            if entry is None and threading.current_thread().name == "late" and not landed.is_set():
                landed.wait(60)
            return entry

    segmenter, cache = PixelSegmenter(), Cache([Late(1 << 20)])
    late = threading.Thread(target=cache.get_or_encode, args=([picture(1)], segmenter), name="late")
    late.start()
    time.sleep(0.05)
    cache.get_or_encode([picture(1)], segmenter)
    landed.set()
    late.join()
    assert segmenter.encoded == ["picture-1"]


def test_when_the_encoding_thread_fails_a_waiting_one_tries_itself(tmp_path: Path) -> None:
    class FailsOnce(PixelSegmenter):
        failed = threading.Event()

        def encode(self, images: object) -> list[Embedding]:
            time.sleep(0.05)
            if not self.failed.is_set():
                self.failed.set()
                raise RuntimeError("out of memory")
            return super().encode(images)  # type: ignore[arg-type]

    segmenter, cache = FailsOnce(), fresh(tmp_path)

    def look(_: int) -> str:
        try:
            return (
                "right"
                if segmenter.made(cache.get_or_encode([picture(1)], segmenter).embeddings[0], picture(1))
                else ""
            )
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(look, range(4)))
    assert sorted(answers) == ["out of memory", "right", "right", "right"]


def test_what_was_encoded_before_a_batch_failed_is_kept(tmp_path: Path) -> None:
    class FailsLater(PixelSegmenter):
        def encode(self, images: object) -> list[Embedding]:
            if self.encoded:
                raise RuntimeError("power")
            return super().encode(images)  # type: ignore[arg-type]

    cache, segmenter = fresh(tmp_path), FailsLater()
    with pytest.raises(RuntimeError, match="power"):
        cache.get_or_encode(pictures(4), segmenter, encode_batch=2)
    assert [cache.holds(image, segmenter) for image in pictures(4)] == [True, True, False, False]


def test_a_hit_never_decodes_the_picture(tmp_path: Path, photo: Path) -> None:
    segmenter = PixelSegmenter()
    cache = Cache.open(CacheConfig.load(folder=tmp_path))
    cache.get_or_encode([Image(photo)], segmenter)
    for opened in (cache, Cache.open(CacheConfig.load(folder=tmp_path, memory=1 << 20))):
        image = Image(photo)
        assert opened.holds(image, segmenter)
        assert opened.get_or_encode([image], segmenter).encoded == 0
        assert image._pixels is None, "still not decoded"


def test_find_gives_what_is_there_and_neither_encodes_nor_counts_a_miss(tmp_path: Path) -> None:
    segmenter, cache = PixelSegmenter(), fresh(tmp_path)
    known, other = pictures(2)
    assert cache.find(known, segmenter) is None
    assert sum(row.counts.misses for row in cache.stats()) == 0
    cache.get_or_encode([known], segmenter)
    cache.close()
    for one in (cache, fresh(tmp_path)):  # in memory, and on disk
        found = one.find(known, segmenter)
        assert found is not None
        assert segmenter.made(found, known)
        assert one.find(other, segmenter) is None
    assert len(segmenter.encoded) == 1
    assert Cache.open("off").find(known, segmenter) is None


def test_find_in_memory_reads_from_no_disk(tmp_path: Path) -> None:
    segmenter, [picture] = PixelSegmenter(), pictures(1)
    fresh(tmp_path).get_or_encode([picture], segmenter)
    cache = fresh(tmp_path)
    assert cache.find(picture, segmenter, in_memory=True) is None
    assert cache.find(picture, segmenter) is not None
    assert cache.find(picture, segmenter, in_memory=True) is not None


def test_holds_does_not_decode_a_picture_that_was_never_met(tmp_path: Path, photo: Path) -> None:
    image = Image(photo)
    assert not fresh(tmp_path).holds(image, PixelSegmenter())
    assert image._pixels is None


def test_prefetched_images_are_there_when_they_are_asked_for(tmp_path: Path) -> None:
    segmenter, cache = PixelSegmenter(seconds=0.01), fresh(tmp_path)
    cache.prefetch(pictures(4), segmenter)
    assert cache.wait_for_prefetch(60)
    assert cache.get_or_encode(pictures(4), segmenter).encoded == 0
    assert segmenter.encoded == [f"picture-{seed}" for seed in range(4)]


def test_prefetch_overlaps_with_the_caller_and_is_joined_not_repeated(tmp_path: Path) -> None:
    begun, hinted = threading.Event(), threading.Event()

    class Slow(PixelSegmenter):
        def encode(self, images: Sequence[Image]) -> list[Embedding]:
            begun.set()
            assert hinted.wait(60), "whoever gave the hint waits for it"
            return super().encode(images)

    segmenter, cache = Slow(), fresh(tmp_path)
    cache.prefetch([picture(1)], segmenter)
    assert begun.wait(60)
    hinted.set()
    assert cache.get_or_encode([picture(1)], segmenter).encoded == 0, "the background is already encoding it"
    assert segmenter.encoded == ["picture-1"]


def test_prefetch_forgets_the_oldest_hints_rather_than_pile_up(tmp_path: Path) -> None:
    segmenter, cache = PixelSegmenter(seconds=0.002), fresh(tmp_path)
    cache.prefetch(pictures(200), segmenter)
    assert cache.wait_for_prefetch(60)
    assert len(segmenter.encoded) <= 17
    assert segmenter.encoded[-1] == "picture-199"


def test_an_error_while_prefetching_meets_whoever_asks_in_earnest(tmp_path: Path) -> None:
    missing, segmenter, cache = tmp_path / "missing.png", PixelSegmenter(), fresh(tmp_path / "cache")
    cache.prefetch([Image(missing), picture(1)], segmenter)
    assert cache.wait_for_prefetch(60)
    assert segmenter.encoded == ["picture-1"]
    with pytest.raises(InputError, match="missing"):
        cache.get_or_encode([Image(missing)], segmenter)


def test_the_same_folder_is_the_same_cache_throughout_a_process(tmp_path: Path) -> None:
    assert Cache.open(tmp_path) is Cache.open(str(tmp_path))
    assert Cache.open(tmp_path) is not Cache.open(tmp_path / "other")
    cache = Cache.open(tmp_path)
    assert Cache.open(cache) is cache


@pytest.mark.parametrize("spec", ["", 3, object()])
def test_a_description_that_is_none_is_refused(spec: object) -> None:
    with pytest.raises(CacheError, match='a cache is "auto", "off", a folder or a Cache'):
        Cache.open(spec)  # type: ignore[arg-type]


def test_a_batch_of_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encode_batch must be at least 1; got 0"):
        fresh(tmp_path).get_or_encode(pictures(1), PixelSegmenter(), encode_batch=0)


def test_importing_the_cache_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'PIL', 'cv2', 'numba', 'fsspec', 'tqdm', 'click'}"
    code = f"import sys, samovar.cache; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
