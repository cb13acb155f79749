"""The cache tier suite passes those that keep every promise, and fails each mutant that breaks one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from samovar.cache import Entry, EntryInfo, Evicted, MemoryTier, TierTraits
from samovar.testing import CacheTierTests
from samovar.testing.tiers import TierFactory
from tests.core.testing.suites import checks, failures

BUDGET = 1_000_000


class FolderTier:
    """Entries in a dictionary that every tier on the same folder shares; the oldest go first."""

    name = "folders"
    traits = TierTraits(native_dtype=True, shared=True, persistent=True)
    folders: dict[Path, dict[str, Entry]]
    lock = threading.RLock()

    def __init__(self, folders: dict[Path, dict[str, Entry]], folder: Path) -> None:
        self.kept = folders.setdefault(folder, {})

    def get(self, key: str) -> Entry | None:
        with self.lock:
            return self.kept.get(key)

    def put(self, entry: Entry) -> Sequence[Evicted]:
        with self.lock:
            if entry.nbytes > BUDGET:
                return []
            self.kept.pop(entry.key, None)
            self.kept[entry.key] = entry
            dropped = []
            while sum(kept.nbytes for kept in self.kept.values()) > BUDGET:
                oldest = self.kept.pop(next(iter(self.kept)))
                dropped.append(Evicted(oldest.info, "budget", oldest))
            return dropped

    def delete(self, key: str) -> bool:
        with self.lock:
            return self.kept.pop(key, None) is not None

    def entries(self) -> Iterator[EntryInfo]:
        with self.lock:
            return iter([entry.info for entry in self.kept.values()])

    def contains(self, key: str) -> bool:
        return key in self.kept

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        with self.lock:
            old = [key for key, entry in self.kept.items() if unused_since is not None and entry.created < unused_since]
            evicted = [Evicted(self.kept.pop(key).info, "old") for key in old]
            while limit is not None and sum(kept.nbytes for kept in self.kept.values()) > limit:
                evicted.append(Evicted(self.kept.pop(next(iter(self.kept))).info, "pruned"))
            return evicted


class Tiers(CacheTierTests):
    """The suite as a shared, bounded tier sees it."""

    max_bytes = BUDGET


@pytest.fixture
def tier_factory() -> TierFactory:
    return partial(FolderTier, {})


class TestFolderTier(Tiers):
    pass


class TestMemoryTier(CacheTierTests):
    max_bytes = BUDGET

    @pytest.fixture
    def tier_factory(self) -> TierFactory:
        return lambda folder: MemoryTier(BUDGET)


class Mutant(FolderTier):
    """One promise broken in each subclass."""

    breaks: str


class NeverEmpty(Mutant):
    breaks = "test_a_new_tier_is_empty"

    def delete(self, key: str) -> bool:
        super().delete(key)
        return True


class MixesUpKeys(Mutant):
    breaks = "test_what_was_put_comes_back"

    def get(self, key: str) -> Entry | None:
        with self.lock:
            return next((entry for known, entry in self.kept.items() if known[:60] == key[:60]), None)


class KeepsTheFirst(Mutant):
    breaks = "test_putting_again_replaces"

    def put(self, entry: Entry) -> Sequence[Evicted]:
        return [] if entry.key in self.kept else super().put(entry)


class DeletesEverything(Mutant):
    breaks = "test_deleting_drops_one_entry_and_says_whether_there_was_one"

    def delete(self, key: str) -> bool:
        there = key in self.kept
        self.kept.clear()
        return there


class Hoards(Mutant):
    breaks = "test_it_keeps_to_its_budget_and_says_what_it_evicted"

    def put(self, entry: Entry) -> Sequence[Evicted]:
        self.kept[entry.key] = entry
        return []


class DropsInSilence(Mutant):
    breaks = "test_it_keeps_to_its_budget_and_says_what_it_evicted"

    def put(self, entry: Entry) -> Sequence[Evicted]:
        super().put(entry)
        return []


class ClearsOutForTheHuge(Mutant):
    breaks = "test_an_entry_beyond_the_budget_is_declined_and_the_others_stay"

    def put(self, entry: Entry) -> Sequence[Evicted]:
        if entry.nbytes > BUDGET:
            self.kept.clear()
        return super().put(entry)


class KeepsToItself(Mutant):
    breaks = "test_two_tiers_on_one_folder_show_the_same_entries"

    def __init__(self, folders: dict[Path, dict[str, Entry]], folder: Path) -> None:
        super().__init__({}, folder)


class LastsAsLongAsItself(Mutant):
    breaks = "test_a_persistent_tier_outlasts_the_object"

    def __init__(self, folders: dict[Path, dict[str, Entry]], folder: Path) -> None:
        super().__init__({}, folder)


class GivesTheStoredForm(Mutant):
    breaks = "test_a_tier_of_native_dtypes_gives_them"

    def get(self, key: str) -> Entry | None:
        kept = super().get(key)
        return kept and Entry.pack(kept.unpack(), key, model=kept.model, precision="half", cost=kept.cost)


class ClaimsWhatItHasNot(Mutant):
    breaks = "test_what_it_contains_it_gives"

    def contains(self, key: str) -> bool:
        return True


class EvictsInSilence(Mutant):
    breaks = "test_evicting_makes_room_and_says_what_it_evicted"

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        super().evict(limit, unused_since=unused_since)
        return []


class OneSlotForAllThreads(Mutant):
    breaks = "test_any_number_of_threads_may_call_it_at_once"
    wanted: str

    def get(self, key: str) -> Entry | None:
        self.wanted = key
        time.sleep(0.0005)
        return super().get(self.wanted)


MUTANTS = Mutant.__subclasses__()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_tier_that_breaks_one_promise_fails_the_check_of_that_promise(mutant: type[Mutant]) -> None:
    folders: dict[Path, dict[str, Entry]] = {}
    assert failures(Tiers, only=mutant.breaks, tier_factory=partial(mutant, folders))


def test_every_check_is_failed_by_some_mutant() -> None:
    assert {mutant.breaks for mutant in MUTANTS} == checks(CacheTierTests) - {"test_is_a_cache_tier"}


def test_a_tier_that_keeps_its_promises_fails_nothing() -> None:
    assert failures(Tiers, tier_factory=partial(FolderTier, {})) == {}
