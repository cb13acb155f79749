"""Following objects with the embedded segmenter: identity, occlusion, re-entry, corrections, and saved state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import samovar
from samovar import Image, Masks, Prompt, Runtime
from samovar.errors import InputError, PromptError
from samovar.testing import TrackerTests
from samovar.tracking import Tracker
from samovar_plugins.propagate.probability import clean
from samovar_plugins.propagate.tracker import PropagateTracker
from tests.adapters.video.clips import ball, clip, iou, meadow

RED, BLUE = (210, 50, 40), (50, 80, 220)


@pytest.fixture(scope="module")
def sam() -> Runtime:
    return samovar.load("default", cache="off")


def mask_prompt(truth: np.ndarray, **more: object) -> Prompt:
    return Prompt(mask=Masks.from_array(truth[None]), **more)  # type: ignore[arg-type]


class TestPropagate(TrackerTests):
    @pytest.fixture
    def new_tracker(self, sam: Runtime) -> Callable[[], Tracker]:
        return lambda: PropagateTracker(sam)


@pytest.mark.slow
def test_a_moving_ball_is_followed_from_a_box(sam: Runtime) -> None:
    frames, truth = clip(meadow(), [ball(RED)], lambda n: [(40 + 5 * n, 60)], 12)
    tracker = PropagateTracker(sam)
    tracker.start(frames[0], Prompt(box=(23, 43, 58, 78), label="ball"))
    for frame, (expected,) in zip(frames[1:], truth[1:]):
        masks = tracker.step(frame)
        assert masks.labels == ("ball",)
        assert iou(masks, 0, expected) > 0.8


@pytest.mark.slow
def test_two_balls_that_cross_keep_their_ids(sam: Runtime) -> None:
    frames, truth = clip(meadow(), [ball(RED), ball(BLUE)], lambda n: [(40 + 6 * n, 60), (150 - 6 * n, 66)], 19)
    tracker = PropagateTracker(sam)
    masks = tracker.start(frames[0], [mask_prompt(truth[0][0], id="red"), mask_prompt(truth[0][1], id="blue")])
    for frame in frames[1:]:
        masks = tracker.step(frame)
    assert masks.ids == ("red", "blue")
    assert iou(masks, 0, truth[-1][0]) > 0.7
    assert iou(masks, 1, truth[-1][1]) > 0.7


@pytest.mark.slow
def test_what_leaves_is_hidden_and_keeps_its_id_when_it_comes_back(sam: Runtime) -> None:
    def where(number: int) -> list[tuple[int, int] | None]:
        return [(40, 60), None if 4 <= number < 10 else (130, 70 + 2 * number)]

    frames, truth = clip(meadow(), [ball(BLUE), ball(RED)], where, 14)
    tracker = PropagateTracker(sam)
    tracker.start(frames[0], [mask_prompt(truth[0][0]), mask_prompt(truth[0][1])])
    found = [tracker.step(frame) for frame in frames[1:]]
    away, back = found[7], found[-1]
    assert (away.areas[1], away.scores[1]) == (0, 0)
    assert back.ids == (1, 2)
    assert iou(back, 1, truth[-1][1]) > 0.7


def test_what_was_there_all_along_is_not_what_comes_back(sam: Runtime) -> None:
    """The object leaves, and something like it, which nobody asked for, stays."""
    ground = meadow()
    look, inside = ball((190, 70, 60))
    ground[75:108, 140:173][inside] = look[inside]
    frames, truth = clip(ground, [ball(RED)], lambda n: [(30 - 12 * n, 50)], 12)
    tracker = PropagateTracker(sam)
    tracker.start(frames[0], mask_prompt(truth[0][0]))
    found = [tracker.step(frame) for frame in frames[1:]]
    assert [masks.areas[0] for masks in found[6:]] == [0] * 5


def test_parts_stay_together_and_what_moves_away_is_another() -> None:
    expected = np.zeros((60, 120), np.bool_)
    expected[20:40, 10:100] = True
    near, far = expected.copy(), expected.copy()
    near[:, 40:45] = False
    far[:, 40:80] = False
    assert np.array_equal(clean(near, expected)[0], near)
    assert np.array_equal(np.flatnonzero(clean(far, expected)[0].any(axis=0)), np.arange(10, 40))


@pytest.mark.slow
def test_objects_are_added_removed_and_corrected(sam: Runtime) -> None:
    frames, truth = clip(meadow(), [ball(RED), ball(BLUE)], lambda n: [(50, 40 + n), (140, 80 - n)], 6)
    tracker = PropagateTracker(sam)
    tracker.start(frames[0], mask_prompt(truth[0][0]))
    tracker.step(frames[1])
    assert tracker.add(mask_prompt(truth[1][1])).ids == (1, 2)
    tracker.step(frames[2])
    corrected = tracker.correct(1, mask_prompt(truth[2][0]))
    assert iou(corrected, 0, truth[2][0]) == 1
    tracker.remove([1])
    masks = tracker.step(frames[3])
    assert masks.ids == (2,)
    assert iou(masks, 0, truth[3][1]) > 0.8


@pytest.mark.slow
def test_a_restored_tracker_goes_on_exactly_as_the_saved_one(sam: Runtime) -> None:
    frames, truth = clip(meadow(), [ball(RED)], lambda n: [(40 + 5 * n, 60)], 10)
    tracker = PropagateTracker(sam)
    tracker.start(frames[0], mask_prompt(truth[0][0], id="a", label="ball"))
    for frame in frames[1:6]:
        tracker.step(frame)
    other = PropagateTracker(sam)
    other.restore(tracker.snapshot())
    for frame in frames[6:]:
        mine, its = tracker.step(frame), other.step(frame)
        assert mine.equals(its)
        assert (mine.ids, mine.labels, mine.scores.tolist()) == (its.ids, its.labels, its.scores.tolist())


def test_what_cannot_be_done_is_said_in_one_line(sam: Runtime) -> None:
    tracker = PropagateTracker(sam)
    frame = Image(meadow())
    with pytest.raises(InputError, match="call start"):
        tracker.step(frame)
    with pytest.raises(PromptError, match="id of its own"):
        tracker.start(frame, [Prompt(box=(1, 1, 20, 20), id=1), Prompt(box=(1, 1, 20, 20), id=1)])
    nothing = Masks.from_array(np.zeros((1, 128, 192), np.bool_))
    with pytest.raises(PromptError, match="found nothing"):
        tracker.start(frame, Prompt(mask=nothing))
    tracker.start(frame, [])
    assert len(tracker.step(frame)) == 0
    with pytest.raises(InputError, match="192×128"):
        tracker.step(Image(np.zeros((50, 60, 3), np.uint8)))
    with pytest.raises(InputError, match="no object 5"):
        tracker.remove([5])
    with pytest.raises(InputError, match="snapshot"):
        tracker.restore({"state": np.array("{}")})


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 200), (31, 17), (1001, 333)])
def test_frames_of_any_size_are_tracked(sam: Runtime, width: int, height: int) -> None:
    frame = Image(meadow(width, height))
    everything = Masks.from_array(np.ones((1, height, width), np.bool_))
    tracker = PropagateTracker(sam)
    tracker.start(frame, Prompt(mask=everything))
    masks = tracker.step(frame)
    assert (masks.width, masks.height) == (width, height)
