"""`TrackerTests`: the contract of a tracker, for pytest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt
from samovar.tracking import EditableTracker, PrefetchingTracker, ResumableTracker, Tracker

__all__ = ["TrackerTests"]

NewTracker: TypeAlias = Callable[[], Tracker]

_WIDTH, _HEIGHT = 72, 56


class TrackerTests:
    """Subclass it beside a fixture `new_tracker`: a function that makes one.

    The frames are made up: two bright rectangles that drift over a dark ground. Masks are not judged, as random weights
    may be behind the tracker; what is promised about objects, ids and state is. Abilities that it does not have (see
    `samovar.tracking`) are not asked for.
    """

    @pytest.fixture
    def frames(self) -> list[Image]:
        """Five frames of one size."""
        ground = np.random.default_rng(7).integers(20, 60, (_HEIGHT, _WIDTH, 3)).astype(np.uint8)
        made = []
        for number in range(5):
            pixels = ground.copy()
            pixels[8:28, 6 + 2 * number : 30 + 2 * number] = (220, 60, 50)
            pixels[32:50, 40 - number : 62 - number] = (60, 90, 230)
            made.append(Image(pixels, name=f"frame {number}"))
        return made

    def test_is_a_tracker(self, new_tracker: NewTracker) -> None:
        assert isinstance(new_tracker(), Tracker)

    def test_objects_keep_ids_and_labels_in_their_order(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker = new_tracker()
        answers = [tracker.start(frames[0], [_first(id="car", label="vehicle"), _second()])]
        answers += [tracker.step(frame) for frame in frames[1:]]
        for masks in answers:
            assert (masks.ids, masks.labels) == (("car", 1), ("vehicle", None))
            assert (masks.width, masks.height) == (_WIDTH, _HEIGHT)
            assert (masks.scores[masks.areas == 0] == 0).all()
            assert ((masks.scores >= 0) & (masks.scores <= 1)).all()

    def test_objects_come_and_go(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker = _editable(new_tracker)
        assert len(tracker.start(frames[0], [])) == 0
        assert len(tracker.step(frames[1])) == 0
        assert tracker.add(_first()).ids == (1,)
        assert tracker.add([_second(id=9)]).ids == (1, 9)
        assert tracker.step(frames[2]).ids == (1, 9)
        tracker.remove([1])
        assert tracker.step(frames[3]).ids == (9,)
        assert tracker.add(_first()).ids == (9, 1)

    def test_what_was_removed_may_be_followed_anew_at_once(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker, other = _editable(new_tracker), _editable(new_tracker)
        tracker.start(frames[0], [_second(), _first()])
        other.start(frames[0], _second())
        for one in (tracker, other):
            one.step(frames[1])
        tracker.remove([2])
        _assert_same(tracker.add(_first()), other.add(_first()))
        _assert_same(tracker.step(frames[2]), other.step(frames[2]))

    def test_prompts_that_are_refused_change_nothing(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker, other = _editable(new_tracker), new_tracker()
        outside = Prompt(box=(_WIDTH + 1, 1, _WIDTH + 9, 9))
        for one in (tracker, other):
            one.start(frames[0], _first())
        with pytest.raises(PromptError):
            tracker.add([_second(), outside])
        with pytest.raises(PromptError):
            tracker.correct(1, outside)
        _assert_same(tracker.step(frames[1]), other.step(frames[1]))

    def test_start_forgets(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker = new_tracker()
        tracker.start(frames[0], [_first(), _second()])
        tracker.step(frames[1])
        assert tracker.start(frames[2], _second(id="new")).ids == ("new",)

    def test_the_same_frames_give_the_same_masks(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        one, other = new_tracker(), new_tracker()
        for tracker in (one, other):
            tracker.start(frames[0], [_first(), _second()])
        if isinstance(one, PrefetchingTracker):
            one.prefetch(frames[1:3])
        for frame in frames[1:3]:
            _assert_same(one.step(frame), other.step(frame))

    def test_a_correction_is_of_one_object(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker = _editable(new_tracker)
        tracker.start(frames[0], [_first(), _second()])
        before = tracker.step(frames[1])
        after = tracker.correct(1, _first())
        assert after.ids == before.ids
        assert after[1].equals(before[1])

    def test_a_restored_one_goes_on_as_the_saved_one(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker, other = new_tracker(), new_tracker()
        if not isinstance(tracker, ResumableTracker) or not isinstance(other, ResumableTracker):
            pytest.skip("cannot be gone on with")
        tracker.start(frames[0], [_first(id="a", label="car"), _second()])
        tracker.step(frames[1])
        snapshot = tracker.snapshot()
        assert not any(np.asarray(array).dtype.hasobject for array in snapshot.values())
        other.restore(snapshot)
        for frame in frames[2:]:
            _assert_same(tracker.step(frame), other.step(frame))

    def test_what_it_cannot_do_is_said(self, new_tracker: NewTracker, frames: list[Image]) -> None:
        tracker = new_tracker()
        with pytest.raises(InputError):
            tracker.step(frames[0])
        with pytest.raises(PromptError):
            tracker.start(frames[0], [_first(id=1), _second(id=1)])
        tracker.start(frames[0], _first())
        with pytest.raises(InputError):
            tracker.step(Image(np.zeros((_HEIGHT, _WIDTH + 1, 3), np.uint8)))
        if isinstance(tracker, EditableTracker):
            with pytest.raises(PromptError):
                tracker.add(_second(id=1))
            with pytest.raises(InputError):
                tracker.remove(["nobody"])
            with pytest.raises(InputError):
                tracker.correct("nobody", _first())
        if isinstance(tracker, ResumableTracker):
            with pytest.raises(InputError):
                tracker.restore({})


def _editable(new_tracker: NewTracker) -> EditableTracker:
    tracker = new_tracker()
    if not isinstance(tracker, EditableTracker):
        pytest.skip("its objects stay as they were at the start")
    return tracker


def _first(id: int | str | None = None, label: str | None = None) -> Prompt:
    return Prompt(box=(5, 7, 31, 29), id=id, label=label)


def _second(id: int | str | None = None) -> Prompt:
    return Prompt(box=(39, 31, 63, 51), id=id)


def _assert_same(got: Masks, expected: Masks) -> None:
    assert got.equals(expected)
    assert (got.ids, got.labels) == (expected.ids, expected.labels)
    assert np.array_equal(got.scores, expected.scores)
