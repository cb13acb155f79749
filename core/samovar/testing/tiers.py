"""`CacheTierTests`: the contract of a cache tier, for pytest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from samovar.cache.entry import Entry
from samovar.cache.tensors import PRECISIONS, Precision
from samovar.cache.tiers import CacheTier, Contains, Evicts, ReportsEvictions, Serves, TierTraits
from samovar.embedding import Embedding

__all__ = ["CacheTierTests"]


class TierFactory(Protocol):
    """How the suite opens a tier."""

    def __call__(self, folder: Path, /) -> CacheTier:
        """A tier that keeps what it keeps in `folder`, or, where it needs no folder, apart from those of others."""


class CacheTierTests:
    """Subclass it beside a fixture `tier_factory`, called with a folder, empty or used by another tier before.

    What a tier says of itself, in its traits and by the methods of the protocols beside `CacheTier`, is checked too.

    Class attributes that a subclass sets:
        max_bytes: the budget of the tiers that the factory opens, at least a million; None (the default) where the tier
            does not bound itself.
    """

    max_bytes: ClassVar[int | None] = None

    def test_is_a_cache_tier(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        tier = tier_factory(tmp_path)
        assert isinstance(tier, CacheTier)
        assert tier.name
        assert isinstance(tier.traits, TierTraits)
        if isinstance(tier, Serves):
            assert isinstance(tier.serves("cpu"), bool)
        if isinstance(tier, ReportsEvictions):
            assert tier.on_evict is None, "the cache will put a function here"

    def test_a_new_tier_is_empty(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        tier = tier_factory(tmp_path)
        assert list(tier.entries()) == []
        assert tier.get(_key(1)) is None
        assert tier.delete(_key(1)) is False

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_what_was_put_comes_back(self, tier_factory: TierFactory, tmp_path: Path, precision: Precision) -> None:
        tier = tier_factory(tmp_path)
        entries = [_entry(number, precision=precision) for number in range(3)]
        for entry in entries:
            assert list(tier.put(entry)) == []
        for entry in entries:
            _assert_same(tier.get(entry.key), entry)
        infos = {info.key: info for info in tier.entries()}
        assert sorted(infos) == sorted(entry.key for entry in entries)
        assert all(info.nbytes > 0 and info.model == "tested" for info in infos.values())

    def test_putting_again_replaces(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        tier = tier_factory(tmp_path)
        tier.put(_entry(1))
        newer = _entry(1, seed=2)
        tier.put(newer)
        _assert_same(tier.get(_key(1)), newer)
        assert [info.key for info in tier.entries()] == [_key(1)]

    def test_deleting_drops_one_entry_and_says_whether_there_was_one(
        self, tier_factory: TierFactory, tmp_path: Path
    ) -> None:
        tier = tier_factory(tmp_path)
        tier.put(_entry(1))
        tier.put(_entry(2))
        assert tier.delete(_key(1)) is True
        assert tier.delete(_key(1)) is False
        assert tier.get(_key(1)) is None
        _assert_same(tier.get(_key(2)), _entry(2))
        assert [info.key for info in tier.entries()] == [_key(2)]

    def test_it_keeps_to_its_budget_and_says_what_it_evicted(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        if self.max_bytes is None:
            pytest.skip("does not bound itself")
        tier = tier_factory(tmp_path)
        entries = [_entry(number, padding=self.max_bytes // 5) for number in range(12)]
        evicted = [one.info.key for entry in entries for one in tier.put(entry)]
        kept = {info.key: info.nbytes for info in tier.entries()}
        assert kept
        assert sum(kept.values()) <= self.max_bytes
        assert sorted([*kept, *evicted]) == sorted(entry.key for entry in entries)
        for entry in entries:
            if entry.key in kept:
                _assert_same(tier.get(entry.key), entry)
            else:
                assert tier.get(entry.key) is None

    def test_an_entry_beyond_the_budget_is_declined_and_the_others_stay(
        self, tier_factory: TierFactory, tmp_path: Path
    ) -> None:
        if self.max_bytes is None:
            pytest.skip("does not bound itself")
        tier = tier_factory(tmp_path)
        tier.put(_entry(1))
        assert list(tier.put(_entry(2, padding=2 * self.max_bytes))) == []
        assert tier.get(_key(2)) is None
        _assert_same(tier.get(_key(1)), _entry(1))

    def test_two_tiers_on_one_folder_show_the_same_entries(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        first, second = tier_factory(tmp_path), tier_factory(tmp_path)
        if not first.traits.shared:
            pytest.skip("shares nothing")
        first.put(_entry(1))
        _assert_same(second.get(_key(1)), _entry(1))
        assert [info.key for info in second.entries()] == [_key(1)]
        assert second.delete(_key(1)) is True
        assert first.get(_key(1)) is None

    def test_a_persistent_tier_outlasts_the_object(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        tier = tier_factory(tmp_path)
        if not tier.traits.persistent:
            pytest.skip("is not persistent")
        tier.put(_entry(1))
        del tier
        _assert_same(tier_factory(tmp_path).get(_key(1)), _entry(1))

    def test_a_tier_of_native_dtypes_gives_them(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        tier = tier_factory(tmp_path)
        if not tier.traits.native_dtype:
            pytest.skip("keeps the stored form")
        tier.put(_entry(1, precision="half").dequantized())
        kept = tier.get(_key(1))
        assert kept is not None
        assert {part.stored.encoding for part in kept.parts} == {"raw"}

    def test_what_it_contains_it_gives(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        tier = tier_factory(tmp_path)
        if not isinstance(tier, Contains):
            pytest.skip("cannot tell without fetching")
        tier.put(_entry(1))
        assert [tier.contains(_key(number)) for number in (1, 2)] == [True, False]
        tier.delete(_key(1))
        assert not tier.contains(_key(1))

    def test_evicting_makes_room_and_says_what_it_evicted(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        tier = tier_factory(tmp_path)
        if not isinstance(tier, Evicts):
            pytest.skip("takes no part in pruning")
        for number in range(5):
            tier.put(_entry(number))
        sizes = {info.key: info.nbytes for info in tier.entries()}
        limit = sum(sizes.values()) // 2
        evicted = {one.info.key for one in tier.evict(limit)}
        left = {info.key for info in tier.entries()}
        assert evicted
        assert evicted | left == set(sizes)
        assert not evicted & left
        assert sum(sizes[key] for key in left) <= limit
        assert [one.info.key for one in tier.evict(None, unused_since=0.0)] == [], "nothing is as old as that"
        assert {one.info.key for one in tier.evict(None, unused_since=1e12)} == left

    def test_any_number_of_threads_may_call_it_at_once(self, tier_factory: TierFactory, tmp_path: Path) -> None:
        """Whatever they put, read and delete, a key never answers with anything but what was put under it."""
        tier = tier_factory(tmp_path)
        entries = [_entry(number) for number in range(6)]

        def work(thread: int) -> None:
            for step in range(20):
                entry = entries[(thread + step) % len(entries)]
                if step % 3 == 0:
                    tier.put(entry)
                elif step % 7 == 0:
                    tier.delete(entry.key)
                kept = tier.get(entry.key)
                if kept is not None:
                    _assert_same(kept, entry)
                list(tier.entries())

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        for entry in entries:
            tier.put(entry)
            _assert_same(tier.get(entry.key), entry)


def _key(number: int) -> str:
    return f"{number:064x}"


def _entry(number: int, *, seed: int = 0, precision: Precision = "exact", padding: int = 0) -> Entry:
    """An entry with tensors of many types and shapes, different for each `number` and `seed`."""
    random = np.random.default_rng([number, seed])
    tensors: dict[str, NDArray[Any]] = {
        "features": random.normal(size=(4, 6, 5)).astype(np.float32),
        "levels": random.integers(0, 255, (3, 7), np.uint8),
        "offsets": np.asfortranarray(random.integers(-9, 9, (2, 5))),
        "flags": random.random((1, 9)) > 0.5,
        "nothing": np.zeros((0, 3), np.float16),
        "one": np.array(random.normal()),
        "padding": np.zeros(padding, np.uint8),
    }
    embedding = Embedding(tensors, 640 + number, 480, "tested 1", compressible=frozenset({"features"}))
    return Entry.pack(embedding, _key(number), model="tested", precision=precision, cost=0.25)


def _assert_same(got: Entry | None, expected: Entry) -> None:
    assert got is not None
    assert (got.key, got.fingerprint, got.model) == (expected.key, expected.fingerprint, expected.model)
    assert (got.width, got.height, got.cost) == (expected.width, expected.height, expected.cost)
    ours, theirs = got.unpack(), expected.unpack()
    assert ours.compressible == theirs.compressible
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, tensor in ours.tensors.items():
        other = theirs.tensors[name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape), name
        assert np.array_equal(tensor, other), name
