"""What is evicted first: by seconds to make it again, how often it is used, and its bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from samovar.cache import EntryInfo
from samovar.cache.tiers import GdsfPolicy


def policy_of(**entries: tuple[int, float, int]) -> GdsfPolicy:
    """A policy over entries name=(bytes, cost, hits)."""
    made = GdsfPolicy()
    for name, (nbytes, cost, hits) in entries.items():
        made.put(EntryInfo(name, "m", nbytes, cost))
        for _ in range(hits):
            made.touch(name, 0)
    return made


def order(policy: GdsfPolicy) -> list[str]:
    """The names in the order in which they would go."""
    return policy.victims(0)


def test_cheap_goes_before_dear() -> None:
    assert order(policy_of(dear=(100, 2.0, 0), cheap=(100, 1.0, 0))) == ["cheap", "dear"]


def test_large_goes_before_small() -> None:
    assert order(policy_of(small=(50, 1.0, 0), large=(100, 1.0, 0))) == ["large", "small"]


def test_rarely_used_goes_before_often_used() -> None:
    assert order(policy_of(often=(100, 1.0, 3), rarely=(100, 1.0, 1))) == ["rarely", "often"]


def test_what_was_popular_long_ago_goes_in_the_end() -> None:
    made = policy_of(old=(100, 1.0, 20))
    for turn in range(300):
        made.put(EntryInfo(f"new-{turn}", "m", 100, 1.0))
        for key in made.victims(500):
            made.evict(key)
    assert "old" not in [info.key for info in made.infos()]


def test_an_entry_without_cost_still_ages_by_use_and_size() -> None:
    assert order(policy_of(a=(100, 0.0, 0), b=(100, 0.0, 2), c=(10, 0.0, 0)))[0] == "a"


def test_entries_to_be_spared_stay() -> None:
    made = policy_of(a=(100, 1.0, 0), b=(100, 2.0, 0), c=(100, 3.0, 0))
    assert made.victims(200, {"a"}.__contains__) == ["b"]
    assert made.victims(300) == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 50), st.booleans()), max_size=60))
def test_the_sum_of_bytes_is_right_whatever_happens(steps: list[tuple[str, int, bool]]) -> None:
    made = GdsfPolicy()
    for name, nbytes, keep in steps:
        if keep:
            made.put(EntryInfo(name, "m", nbytes, 1.0))
        else:
            made.remove(name)
        assert made.nbytes == sum(info.nbytes for info in made.infos())


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 100), max_size=20), st.integers(0, 1000))
def test_no_more_goes_than_must(sizes: dict[str, int], limit: int) -> None:
    made = GdsfPolicy()
    for index, (name, nbytes) in enumerate(sizes.items()):
        made.put(EntryInfo(name, "m", nbytes, index))
    gone = [sizes[key] for key in made.victims(limit)]
    assert made.nbytes - sum(gone) <= max(limit, 0)
    assert not gone or made.nbytes - sum(gone[:-1]) > limit


def test_on_a_skewed_load_it_saves_more_seconds_than_least_recently_used() -> None:
    """Two models share a cache: one whose embeddings are dear and one whose are cheap, images by Zipf's law."""
    random = np.random.default_rng(0)
    costs = {"dear": 10.0, "cheap": 0.1}
    draws = [(("dear", "cheap")[int(random.integers(2))], int(min(random.zipf(1.2), 400))) for _ in range(6000)]
    budget = 60
    made, saved = GdsfPolicy(), 0.0
    recent: dict[str, float] = {}
    saved_by_recency = 0.0
    held: set[str] = set()
    for model, image in draws:
        key, cost = f"{model}-{image}", costs[model]
        if key in held:
            saved += cost
            made.touch(key, 0)
        else:
            made.put(EntryInfo(key, model, 1, cost))
            held.add(key)
            for victim in made.victims(budget, key.__eq__):
                made.evict(victim)
                held.remove(victim)
        if key in recent:
            saved_by_recency += cost
        recent[key] = recent.pop(key, cost)
        if len(recent) > budget:
            recent.pop(next(iter(recent)))
    assert saved > 1.05 * saved_by_recency
